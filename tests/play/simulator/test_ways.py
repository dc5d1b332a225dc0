"""Which branch delivers by which way, what that way can carry, and what changes overnight."""

import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.errors import UserError
from kkbc_play.simulator import Scale, World, misbehaviour, reference
from kkbc_play.simulator.misbehaviour import Misbehaviour, Sheet
from kkbc_play.simulator.ways import CARRIES, KINDS, assign

FIRST = date(2023, 12, 11)
BAD = Scale(registrations=900, contributions=1500, opening=300, rejected=0.15, activity_errors=0.3)
SMALL = Scale(registrations=100, contributions=150, opening=100)
IDS = reference.load().ids


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three nights of all ways, with many a refused slice."""
    world = World(tmp_path_factory.mktemp("mixed"), seed=5, scale=BAD, ways="mix")
    for _ in range(3):
        world.play_night()
    return world


def truth_of(world: World, day: date) -> dict[str, Any]:
    return json.loads((world.folder / "truth" / f"{day}.json").read_text(encoding="utf-8"))


def test_the_mix_is_shared_out_by_seed() -> None:
    mix = assign("mix", IDS, 1)
    assert Counter(mix.values()) == {"file": 40, "sftp": 30, "s3": 20, "http": 20, "postgres": 12}
    assert list(mix) == IDS
    assert assign("mix", IDS, 1) == mix
    assert assign("mix", IDS, 2) != mix
    assert Counter(assign("mix", IDS[:12], 1).values()) == {"file": 4, "sftp": 3, "s3": 2, "http": 2, "postgres": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_all_branches_may_deliver_by_one_way_and_head_office_by_files(tmp_path: Path, kind: str) -> None:
    kinds = World(tmp_path / "world", ways=kind).kinds
    assert kinds.pop("HQ") == "file"
    assert set(kinds.values()) == {kind}
    assert len(kinds) == len(IDS)


def test_a_way_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'fax' is no way to deliver"):
        World(tmp_path / "world", ways="fax")


def test_each_branch_delivers_where_its_way_has_it(mixed: World) -> None:
    places = {"file": "branches", "sftp": "branches", "s3": "branches", "http": "api", "postgres": "ekspor"}
    found = {path.name: path.parent.name for path in mixed.folder.glob("*/KC*")}
    assert found == {branch_id: places[mixed.kinds[branch_id]] for branch_id in IDS}


def test_a_slice_is_refused_only_for_what_its_way_can_carry(mixed: World) -> None:
    met: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for night in range(3):
        for entry in truth_of(mixed, date(2023, 12, 11 + night))["slices"]:
            if entry["reason"]:
                met[mixed.kinds[entry["branch_id"]]].add(entry["reason"])
    whole = {"SCHEMA_VERSION", "MANIFEST_BRANCH", "MANIFEST_DATE", "UNREADABLE"}
    assert met["postgres"] == {"ROW_COUNT"}
    assert met["http"] == {*CARRIES["http"].refused, *whole}
    assert met["sftp"] | met["file"] | met["s3"] == {*CARRIES["file"].refused, *whole}


def test_typed_tables_hold_no_unreadable_values_and_no_odd_shapes(mixed: World) -> None:
    codes: dict[str, set[str]] = {}
    for entry in truth_of(mixed, date(2023, 12, 13))["quarantine"]:
        codes.setdefault(mixed.kinds[entry["branch_id"]], set()).add(entry["code"])
    assert "ROW_SHAPE" not in codes["postgres"]
    assert {"REQUIRED_MISSING", "CODE_UNKNOWN", "DATE_FUTURE", "KEY_DUPLICATE"} <= codes["postgres"]
    assert {"ROW_SHAPE", "VALUE_INVALID", "REQUIRED_MISSING"} <= codes["http"]


def test_tables_have_no_two_rows_of_one_key_changed_at_one_time(mixed: World) -> None:
    keys = {"pendaftaran": "no_pendaftaran", "iuran": "id_bayar", "kegiatan": "kode_kegiatan"}
    seen = 0
    for path in mixed.folder.glob("ekspor/*/*/*.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        key = keys[path.name.split(".")[0]]
        times = Counter((row[key], row["diubah_pada"]) for row in rows if row[key] and row["diubah_pada"])
        assert not times or max(times.values()) == 1, path
        seen += len(rows)
    assert seen > 500


def test_the_api_lists_the_newest_revision_of_every_slice_of_a_day(mixed: World) -> None:
    restated = 0
    for path in mixed.folder.glob("api/*/*/manifest.json"):
        highest: dict[str, int] = {}
        for rows in path.parent.glob("*.jsonl"):
            feed, revision = rows.name.split(".")[:2]
            highest[feed] = max(highest.get(feed, 0), int(revision[1:]))
        if max(highest.values(), default=1) == 1:
            continue
        listed = {entry["feed"]: entry["revision"] for entry in json.loads(path.read_bytes())["files"]}
        assert highest.items() <= listed.items()
        restated += 1
    assert restated > 3


def test_a_mixed_world_gives_the_same_bytes_also_when_continued(mixed: World, tmp_path: Path) -> None:
    for _ in range(3):
        World(tmp_path, seed=5, scale=BAD, ways="mix").play_night()
    paths = [path.relative_to(mixed.folder) for path in mixed.folder.rglob("*") if path.is_file()]
    assert [path for path in paths if (tmp_path / path).read_bytes() != (mixed.folder / path).read_bytes()] == []
    assert len(paths) == sum(path.is_file() for path in tmp_path.rglob("*"))


def test_a_branch_moves_overnight_and_the_truth_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, seed=3, scale=SMALL)
    world.play_night()
    misbehaviour.add(tmp_path, ["KC010=moved:http", "KC011=moved:postgres"], world.kinds)
    assert world.kinds["KC010"] == "file"  # until the night
    world.play_night()
    continued = World(tmp_path)
    assert (continued.kinds["KC010"], continued.kinds["KC011"]) == ("http", "postgres")
    assert Counter(continued.kinds.values())["file"] == len(IDS) - 1
    for branch_id, place in (("KC010", "api"), ("KC011", "ekspor")):
        assert not (tmp_path / "branches" / branch_id / "2023-12-12").exists()
        assert list((tmp_path / place / branch_id).glob("2023-12-12/*.jsonl"))
        assert list((tmp_path / "branches" / branch_id).glob("2023-12-11/manifest.json"))


def test_a_revised_branch_restates_each_delivery_a_night_later(tmp_path: Path) -> None:
    world = World(
        tmp_path, seed=3, scale=Scale(registrations=100, contributions=150, opening=100, absent=0, rejected=0)
    )
    world.begin()
    misbehaviour.add(tmp_path, ["KC010=revised"], world.kinds)
    world.play_night()
    world.play_night()
    slices = {
        (s["business_date"], s["feed"]): s["revision"]
        for s in truth_of(world, date(2023, 12, 12))["slices"]
        if s["branch_id"] == "KC010"
    }
    feeds = ("pendaftaran", "iuran", "kegiatan")
    assert slices == {("2023-12-11", feed): 2 for feed in feeds} | {("2023-12-12", feed): 1 for feed in feeds}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("KC010", "is not understood"),
        ("KC999=down", "is not understood"),
        ("KC010=sulking", "is not understood"),
        ("KC010=down", "KC010 delivers by file, where down means nothing"),
        ("KC011=checksum", "KC011 delivers by http, where checksum means nothing"),
        ("KC011=slow:soon", "slow takes no such value: like slow:2"),
        ("KC011=moved", "moved takes no such value: one of file, sftp, s3, http, postgres"),
        ("KC011=half:3", "half takes none"),
    ],
)
def test_a_misbehaviour_that_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        misbehaviour.add(tmp_path, [text], {"KC010": "file", "KC011": "http"})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_reported_holds_at_once_and_adds_up(tmp_path: Path) -> None:
    kinds = {"KC010": "sftp", "KC011": "http"}
    sheet = Sheet(tmp_path, kinds)
    assert sheet.of("KC010").name == ""
    misbehaviour.add(tmp_path, ["KC010=slow:2.5"], kinds)
    misbehaviour.add(tmp_path, ["KC011=expired:always"], kinds)
    assert sheet.of("KC010") == Misbehaviour("slow", "2.5")
    assert sheet.of("KC010").seconds == 2.5
    assert sheet.of("KC011").always
    (tmp_path / "misbehave.yml").write_text("KC010: down\nKC011: nonsense\nKC012: [\n")
    assert sheet.of("KC010").name == ""  # no YAML: nobody misbehaves
    (tmp_path / "misbehave.yml").write_text("KC010: down\nKC011: nonsense\n")
    assert (sheet.of("KC010").name, sheet.of("KC011").name) == ("down", "")
    (tmp_path / "misbehave.yml").unlink()
    assert sheet.of("KC010").name == ""
