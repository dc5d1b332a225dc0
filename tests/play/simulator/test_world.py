"""The world: seeded, repeatable, continued where it stopped."""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc_play.simulator import Scale, World

SMALL = Scale(registrations=150, contributions=400, opening=300)


def _tree(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("at_once")
    world = World(folder, seed=3, scale=SMALL)
    for _ in range(4):
        world.play_night()
    return folder


def test_the_same_seed_gives_the_same_bytes_also_when_continued(at_once: Path, tmp_path: Path) -> None:
    for nights in range(4):
        world = World(tmp_path, seed=3, scale=SMALL)
        assert world.nights_played == nights
        world.play_night()
    assert _tree(tmp_path) == _tree(at_once)


def test_another_seed_gives_other_bytes(at_once: Path, tmp_path: Path) -> None:
    World(tmp_path, seed=4, scale=SMALL).play_night()
    ours, theirs = _tree(tmp_path), _tree(at_once)
    same = [name for name in ours if name.startswith("branches") and theirs.get(name) == ours[name]]
    assert len(same) < len(ours) / 4  # empty files are alike


def test_a_night_cut_short_is_played_again_alike(at_once: Path, tmp_path: Path) -> None:
    class Cut(Exception): ...

    def cut(done: int, total: int, what: str) -> None:
        if done == 100:
            raise Cut

    World(tmp_path, seed=3, scale=SMALL).play_night()
    with pytest.raises(Cut):
        World(tmp_path, seed=3, scale=SMALL).play_night(cut)
    world = World(tmp_path, seed=3, scale=SMALL)
    for _ in range(3):
        world.play_night()
    assert _tree(tmp_path) == _tree(at_once)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 4}, "seed"),
        ({"scale": replace(SMALL, opening=301)}, "scale"),
        ({"first_date": date(2023, 12, 12)}, "first_date"),
        ({"truth": False}, "truth"),
    ],
)
def test_a_world_refuses_to_go_on_as_another(at_once: Path, other: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=f"another {named}"):
        World(at_once, **({"seed": 3, "scale": SMALL} | other))  # type: ignore[arg-type]


def test_what_is_not_given_is_what_the_world_was_begun_with(tmp_path: Path) -> None:
    World(tmp_path, seed=3, scale=SMALL, first_date=date(2024, 2, 28), truth=False, ways="mix").begin()
    world = World(tmp_path)
    assert (world.seed, world.scale, world.first_date, world.truth) == (3, SMALL, date(2024, 2, 28), False)
    assert world.ways == "mix"
    assert world.play_night().business_date == date(2024, 2, 28)
    assert World(tmp_path).next_date == date(2024, 2, 29)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear all")
    for folder in (tmp_path, tmp_path / "letters.txt"):
        with pytest.raises(UserError, match="holds something else than a world: name an empty or a new folder"):
            World(folder)
    assert _tree(tmp_path).keys() == {"letters.txt"}


def test_a_world_of_before_there_were_several_ways_goes_on_with_files(at_once: Path, tmp_path: Path) -> None:
    shutil.copytree(at_once, tmp_path / "old")
    path = tmp_path / "old" / "state" / "world.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in kept.items() if name not in ("ways", "moved")}))
    world = World(tmp_path / "old")
    assert set(world.kinds.values()) == {"file"}
    assert world.nights_played == 4


def test_a_first_night_cut_short_is_played_again_alike(at_once: Path, tmp_path: Path) -> None:
    class Cut(Exception): ...

    def cut(done: int, total: int, what: str) -> None:
        if done == 50:
            raise Cut

    with pytest.raises(Cut):
        World(tmp_path, seed=3, scale=SMALL).play_night(cut)
    for _ in range(4):
        World(tmp_path).play_night()
    assert _tree(tmp_path) == _tree(at_once)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{world}", "--seed", "4"], "was begun with another seed"),
        (["--out", "{world}", "--ways", "http"], "was begun with another ways"),
        (["--out", "{world}", "--misbehave", "KC010=down"], "KC010 delivers by file, where down means nothing"),
        (["--out", "{foreign}"], "holds something else than a world"),
        (["serve", "--world", "{foreign}"], "holds no world"),
        (["serve", "--world", "{world}", "--misbehave", "KC010"], "is not understood"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    at_once: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "x").touch()
    before = _tree(at_once)
    places = [argument.format(world=at_once, foreign=tmp_path) for argument in arguments]
    with pytest.raises(UserError, match=message) as caught:
        CliRunner().invoke(app, ["simulate", *places], catch_exceptions=False)
    assert "\n" not in str(caught.value)
    assert _tree(at_once) == before
    assert _tree(tmp_path).keys() == {"x"}


def test_a_new_world_on_the_command_line_has_every_way(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "w"), "--no-truth"])
    assert result.exit_code == 0
    assert "kkbc simulate serve --world" in result.stdout
    assert {path.name for path in (tmp_path / "w").iterdir()} == {"api", "branches", "ekspor", "state"}


def test_without_truth_the_branches_send_the_same(at_once: Path, tmp_path: Path) -> None:
    night = World(tmp_path, seed=3, scale=SMALL, truth=False).play_night()
    assert night.truth_path is None
    sent = {name: digest for name, digest in _tree(tmp_path).items() if name.startswith("branches")}
    assert sent
    assert sent.items() <= _tree(at_once).items()


def test_progress_counts_deliveries_up(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    night = World(tmp_path, seed=3, scale=SMALL).play_night(lambda done, total, what: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(night.deliveries + 1))
    assert {total for _, total in seen} == {night.deliveries}
