"""Pulling one branch of kind file, from the manifest to committed rows."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from kkbc.core import disk, tokens
from kkbc.core.errors import BranchTimeout, BranchUnavailable, UserError
from kkbc.exchange.masking import shown_name
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake import process
from kkbc.intake.sources import Manifest, Wanted
from kkbc.intake.sources.folder import FolderTree
from kkbc.intake.sources.manifest import parse_manifest
from kkbc.nights.attempt import PullReport
from kkbc.nights.visit import pull
from kkbc.warehouse import connect, locks
from tests.deliveries import deliver

Pull = Callable[..., PullReport]
UNTIL = date(2023, 12, 31)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


@pytest.fixture
def pull_kc001(warehouse: str, home: Path, root: Path) -> Pull:
    tokens.ensure_key(home)
    with connect("loader") as conn:
        conn.execute("insert into ops.run (run_id, as_of, mode) values ('r', '2023-12-31', 'plain')")

    def once(branch_id: str = "KC001", until: date = UNTIL) -> PullReport:
        with connect("loader", autocommit=True) as conn:
            return pull(conn, load_registry().get(branch_id), run_id="r", until=until, root=root)

    return once


def query(statement: str) -> list[Any]:
    with connect() as conn:
        return conn.execute(statement).fetchall()  # type: ignore[arg-type]


def slices() -> list[Any]:
    return query(
        "select feed, revision, status, reason, rows_sent, rows_accepted, rows_quarantined from ops.slice"
        " order by business_date, feed, revision"
    )


def test_a_delivery_is_loaded_and_pulling_again_changes_nothing(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"pendaftaran": [{}, {"no_pendaftaran": "R-2", "nik": "123"}], "iuran": [{}], "kegiatan": []})
    report = pull_kc001()
    assert (report.outcome, report.loaded, report.rejected, report.rows) == ("loaded", 3, 0, 3)
    assert slices() == [
        ("iuran", 1, "loaded", None, 1, 1, 0),
        ("kegiatan", 1, "loaded", None, 0, 0, 0),
        ("pendaftaran", 1, "loaded", None, 2, 1, 1),
    ]
    assert query("select feed, line, errors, fields from ops.quarantine") == [
        ("pendaftaran", 3, ["NIK_FORMAT"], ["nik:NIK_FORMAT"])
    ]
    before = query("select xmin::text, * from raw.registrations")
    assert pull_kc001().outcome == "nothing_new"
    assert query("select xmin::text, * from raw.registrations") == before


def test_a_row_carries_its_lineage_and_no_person(pull_kc001: Pull, root: Path, home: Path) -> None:
    deliver(root, {"pendaftaran": [{}]})
    pull_kc001()
    ((day, branch, revision, file, line, warnings, token, year),) = query(
        "select _business_date, _branch_id, _revision, _file, _line, _warnings, participant_token, birth_year"
        " from raw.registrations"
    )
    assert (day, branch, revision, file, line, warnings) == (date(2023, 12, 11), "KC001", 1, "pendaftaran.csv", 2, [])
    assert year == 1990
    assert query("select nik, phone, participant_token from vault.registrations") == [
        ("1171011203909001", "+6281234567890", token)
    ]
    assert len(token) == 32
    assert "1171011203909001" not in str(query("select * from raw.registrations"))


def test_the_same_person_has_the_same_token_in_both_feeds(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"pendaftaran": [{}], "iuran": [{}]})
    pull_kc001()
    ((registered,),) = query("select participant_token from raw.registrations")
    ((paid,),) = query("select participant_token from raw.contributions")
    assert registered == paid


def test_a_revision_replaces_its_slice_whole_and_leaves_the_others(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"pendaftaran": [{}, {"no_pendaftaran": "R-2", "nik": "123"}], "iuran": [{}]})
    pull_kc001()
    deliver(root, {"pendaftaran": [{"no_pendaftaran": "R-9"}]}, revision=2)
    report = pull_kc001()
    assert (report.loaded, report.rows) == (1, 1)
    assert [row[:3] for row in slices()] == [
        ("iuran", 1, "loaded"),
        ("pendaftaran", 1, "superseded"),
        ("pendaftaran", 2, "loaded"),
    ]
    assert query("select registration_no from raw.registrations") == [("R-9",)]
    assert query("select count(*) from vault.registrations") == [(1,)]
    assert query("select closed_as from ops.quarantine") == [("superseded",)]


def test_a_lower_revision_that_comes_later_does_not_displace(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"pendaftaran": [{"no_pendaftaran": "R-9"}]}, revision=2)
    pull_kc001()
    deliver(root, {"pendaftaran": [{}, {"no_pendaftaran": "R-2", "nik": "123"}]})
    report = pull_kc001()
    assert (report.loaded, report.superseded) == (0, 1)
    assert query("select registration_no from raw.registrations") == [("R-9",)]
    assert query("select count(*) from ops.quarantine where closed_at is null") == [(0,)]


def test_a_rejected_revision_never_displaces_and_is_taken_when_fixed(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"pendaftaran": [{}]})
    pull_kc001()
    folder = deliver(root, {"pendaftaran": [{"no_pendaftaran": "R-2"}]}, revision=2)
    (folder / "pendaftaran.r2.csv").write_bytes(b"cut off")
    report = pull_kc001()
    assert (report.loaded, report.rejected) == (0, 1)
    assert [row[1:4] for row in slices()] == [(1, "loaded", None), (2, "rejected", "CHECKSUM")]
    assert query("select registration_no from raw.registrations") == [("R-1",)]
    assert pull_kc001().outcome == "nothing_new"
    deliver(root, {"pendaftaran": [{"no_pendaftaran": "R-2"}]}, revision=2)
    assert pull_kc001().loaded == 1
    assert query("select registration_no from raw.registrations") == [("R-2",)]


def test_an_accepted_revision_sent_again_with_other_bytes_is_ignored_and_reported(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"pendaftaran": [{}]})
    pull_kc001()
    deliver(root, {"pendaftaran": [{"no_pendaftaran": "R-2"}]})
    report = pull_kc001()
    assert (report.loaded, report.rejected) == (0, 0)
    assert "came again with other bytes" in " ".join(report.notes)
    assert query("select registration_no from raw.registrations") == [("R-1",)]


def test_no_manifest_means_not_arrived(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"pendaftaran": [{}]})
    (folder / "manifest.json").unlink()
    assert pull_kc001().outcome == "nothing_new"
    assert slices() == []


def spoil_missing(folder: Path) -> None:
    (folder / "iuran.csv").unlink()


def spoil_bytes(folder: Path) -> None:
    (folder / "iuran.csv").write_bytes((folder / "iuran.csv").read_bytes() + b"\n")


def respecify(folder: Path, content: bytes, rows: int) -> None:
    """Replaces the file and makes the manifest true of its bytes."""
    (folder / "iuran.csv").write_bytes(content)
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    for item in document["files"]:
        if item["feed"] == "iuran":
            item |= {"rows": rows, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_missing, "FILE_MISSING"),
        (spoil_bytes, "CHECKSUM"),
        (lambda f: respecify(f, b"a;b\n1;2\n", 1), "HEADER"),
        (lambda f: respecify(f, (f / "iuran.csv").read_bytes(), 2), "ROW_COUNT"),
        (lambda f: respecify(f, b"", 1), "HEADER"),
    ],
)
def test_a_slice_is_rejected_alone_with_its_reason(
    pull_kc001: Pull, root: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    folder = deliver(root, {"pendaftaran": [{}], "iuran": [{}], "kegiatan": [{}]})
    spoil(folder)
    report = pull_kc001()
    assert (report.loaded, report.rejected) == (2, 1)
    assert slices()[0] == ("iuran", 1, "rejected", reason, 0, 0, 0)
    assert query("select count(*) from raw.contributions") == [(0,)]


def test_an_empty_file_is_valid_when_the_manifest_says_no_rows(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}]})
    respecify(folder, b"", 0)
    assert pull_kc001().loaded == 1
    assert slices() == [("iuran", 1, "loaded", None, 0, 0, 0)]


def test_a_path_that_leads_out_of_the_folder_is_not_followed(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}]})
    document = json.loads((folder / "manifest.json").read_text())
    (root / "outside.csv").write_bytes((folder / "iuran.csv").read_bytes())
    document["files"][0]["name"] = "../../outside.csv"
    (folder / "manifest.json").write_text(json.dumps(document))
    assert pull_kc001().rejected == 1
    assert slices()[0][3] == "FILE_MISSING"


def test_unlisted_files_are_ignored_and_reported(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}]})
    (folder / "catatan.txt").write_text("x")
    (folder / "iuran.old.r2.csv").write_text("x")
    (folder / "iuran.r2.csv").write_text("x")
    report = pull_kc001()
    assert report.loaded == 1
    place = "2023-12-11 manifest.json"
    assert report.notes == [
        f"{place}: {name} is not listed, ignored"
        for name in (shown_name("catatan.txt"), shown_name("iuran.old.r2.csv"), "iuran.r2.csv")
    ]
    assert not [note for note in report.notes if "catatan" in note or "old" in note]


def test_deliveries_after_the_business_date_wait(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"iuran": [{}]}, day=date(2023, 12, 12))
    assert pull_kc001(until=date(2023, 12, 11)).outcome == "nothing_new"
    assert pull_kc001(until=date(2023, 12, 12)).loaded == 1


def test_a_delivery_of_sixty_days_ago_is_taken(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"iuran": [{}]}, day=date(2023, 12, 20))
    pull_kc001()
    deliver(
        root, {"iuran": [{"tgl_bayar": "2023-10-21 10:00", "diubah_pada": "2023-10-21 10:00"}]}, day=date(2023, 10, 21)
    )
    assert pull_kc001().loaded == 1


def test_the_branch_is_left_as_it_was(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"pendaftaran": [{}], "iuran": [{}]})
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*") if p.is_file()}
    pull_kc001()
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*") if p.is_file()} == before


def test_while_another_session_pulls_the_branch_this_one_does_nothing(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"iuran": [{}]})
    with locks.locked_branch("KC001", "another visit", role="loader"):
        assert pull_kc001().outcome == "nothing_new"
    assert pull_kc001().loaded == 1


def test_every_visit_is_on_record(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"iuran": [{}]})
    pull_kc001()
    pull_kc001()
    assert query("select branch_id, kind, slices, rows, outcome from ops.attempt order by attempt_id") == [
        ("KC001", "file", 1, 1, "loaded"),
        ("KC001", "file", 0, 0, "nothing_new"),
    ]


class Recorder:
    """A way of delivering that has nothing to give, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.wanted: Wanted | None = None
        self.closed = False

    def manifests(self, wanted: Wanted) -> Iterator[Manifest]:
        self.wanted = wanted
        return iter(())

    def fetch(self, delivery: Delivery, entry: Entry, target: Path) -> None:
        raise AssertionError("nothing was announced")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    source = Recorder()
    monkeypatch.setattr("kkbc.nights.visit.open_source", lambda *_: source)
    return source


def test_a_visit_asks_from_a_month_before_the_first_business_date(pull_kc001: Pull, recorder: Recorder) -> None:
    with connect() as conn:
        conn.execute("insert into ops.setting (name, value) values ('first_business_date', '2023-12-11')")
    pull_kc001(until=date(2023, 12, 20))
    assert recorder.wanted == Wanted(date(2023, 11, 10), date(2023, 12, 20), frozenset())
    assert recorder.closed


def test_days_that_are_settled_and_old_are_not_asked_for_twice_a_night(
    pull_kc001: Pull, root: Path, recorder: Recorder
) -> None:
    days = {1: "settled", 2: "rejected since", 3: "asked for long ago", 19: "recent"}
    with connect() as conn:
        for day, what in days.items():
            conn.execute(
                "insert into ops.manifest (branch_id, business_date, name, stamp, sha256, settled, checked_at)"
                " values ('KC001', %s, 'm', '', '', %s, now() - %s * interval '1 day')",
                [date(2023, 12, day), what != "rejected since", int(what == "asked for long ago")],
            )
    pull_kc001(until=date(2023, 12, 20))
    assert recorder.wanted is not None
    assert recorder.wanted.skip == {date(2023, 12, 1)}


def test_an_attempt_that_was_killed_says_so_once_the_branch_is_visited_again(pull_kc001: Pull, root: Path) -> None:
    with connect() as conn:
        conn.execute(
            "insert into ops.attempt (run_id, branch_id, kind, started_at, outcome)"
            " values ('r', 'KC001', 'file', now(), 'running'), ('r', 'KC002', 'file', now(), 'running')"
        )
    pull_kc001()
    assert query("select branch_id, outcome, finished_at is null from ops.attempt order by attempt_id") == [
        ("KC001", "killed", False),
        ("KC002", "running", True),
        ("KC001", "nothing_new", False),
    ]


def test_an_attempt_that_failed_says_why(pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise BranchUnavailable("branch KC001 at 10.0.0.1 is down")

    monkeypatch.setattr("kkbc.nights.visit.open_source", down)
    with pytest.raises(BranchUnavailable):
        pull_kc001()
    assert query("select outcome, reason from ops.attempt") == [
        ("failed", "BranchUnavailable: branch KC001 at 10.0.0.1 is down")
    ]


def test_targets_of_head_office(pull_kc001: Pull, root: Path) -> None:
    folder = root / "HQ" / "2023-12-01"
    folder.mkdir(parents=True)
    content = (
        b"kode_kantor,bulan,target_peserta_baru,target_peserta_aktif,target_iuran\n"
        b"KC001,2023-12,10,100,1.000.000\nKC999,2023-12,1,1,1\nKC001,2023-12,20,100,1000000\nKC002,2023-12,-1,1,1\n"
    )
    (folder / "target.csv").write_bytes(content)
    manifest = {
        "schema_version": 1,
        "branch_id": "HQ",
        "business_date": "2023-12-01",
        "revision": 1,
        "sent_at": "2023-12-01T08:00:00+07:00",
        "files": [
            {
                "feed": "target",
                "name": "target.csv",
                "rows": 4,
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert pull_kc001("HQ").loaded == 1
    assert query("select _branch_id, branch_id, month, target_new, target_idr, _line from raw.targets") == [
        ("HQ", "KC001", date(2023, 12, 1), 20, 1_000_000, 4)
    ]
    assert query("select line, errors from ops.quarantine order by line") == [
        (2, ["KEY_DUPLICATE"]),
        (3, ["CODE_UNKNOWN"]),
        (5, ["NEGATIVE"]),
    ]


# --- what goes wrong with one slice ---


DAY, NEXT_DAY = date(2023, 12, 11), date(2023, 12, 12)
KTP = "1171011203909001"
GRAVE = [
    ValueError(KTP),
    RecursionError(KTP),
    MemoryError(KTP),
    OverflowError(KTP),
    AssertionError(KTP),
    UnicodeEncodeError("utf-8", KTP + "\ud800", 16, 17, "surrogates not allowed"),
    pl.exceptions.PanicException(KTP),
    psycopg.DataError(KTP),
]


def spoil_iuran(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Lets `error` come up while contributions are read."""

    def raising(landed: Any, entry: Entry, *others: Any) -> Any:
        if entry.feed == "iuran":
            raise error
        return process.take_in(landed, entry, *others)

    monkeypatch.setattr("kkbc.nights.slice_loader.take_in", raising)


def three_feeds(root: Path) -> None:
    """A delivery of each feed on two days."""
    for day in (DAY, NEXT_DAY):
        deliver(root, {"pendaftaran": [{}], "iuran": [{}], "kegiatan": [{}]}, day=day)


@pytest.mark.parametrize("error", GRAVE, ids=lambda error: type(error).__name__)
def test_whatever_goes_wrong_with_a_slice_rejects_that_slice(
    pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    three_feeds(root)
    spoil_iuran(monkeypatch, error)
    report = pull_kc001()
    assert (report.loaded, report.rejected) == (4, 2)
    assert query("select distinct status, reason, detail, landed_uri is null from ops.slice where feed = 'iuran'") == [
        ("rejected", "UNREADABLE", f"{type(error).__name__} while it was taken in", False)
    ]
    assert KTP not in str(report.notes)
    monkeypatch.setattr("kkbc.nights.slice_loader.take_in", process.take_in)
    assert pull_kc001().loaded == 2


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), UserError("no key"), psycopg.OperationalError("gone"), BranchUnavailable("down")]
)
def test_what_concerns_more_than_a_slice_ends_the_visit(
    pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    three_feeds(root)
    spoil_iuran(monkeypatch, error)
    with pytest.raises(type(error)):
        pull_kc001()
    assert query("select count(*) from ops.slice where status = 'rejected'") == [(0,)]


def test_rows_that_the_warehouse_does_not_take_reject_their_slice(
    pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_feeds(root)
    with connect() as conn:
        conn.execute("alter table raw.contributions add constraint none check (total_amount < 0)")
    report = pull_kc001()
    assert (report.loaded, report.rejected) == (4, 2)
    assert query("select distinct reason, detail from ops.slice where status = 'rejected'") == [
        ("UNREADABLE", "CheckViolation while it was taken in")
    ]


def test_a_manifest_that_cannot_be_read_is_reported_and_leaves_the_other_days(
    pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_feeds(root)

    def parse(content: bytes, branch_id: str, day: date, *others: Any) -> Delivery:
        if day == DAY:
            raise RecursionError(KTP)
        return parse_manifest(content, branch_id, day, *others)

    monkeypatch.setattr("kkbc.intake.sources.tree.parse_manifest", parse)
    report = pull_kc001()
    assert report.loaded == 3
    assert report.notes == ["2023-12-11 manifest.json: the manifest cannot be read (RecursionError)"]


def test_names_that_no_store_can_hold_are_escaped(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}]})
    document = json.loads((folder / "manifest.json").read_text())
    document["files"] += [{"feed": "gaji\0\ud800", "name": "x"}]
    (folder / "manifest.json").write_text(json.dumps(document))
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.csv")).touch()
    Path(os.fsdecode(os.fsencode(folder) + b"/manifest.r\xff.json")).touch()
    report = pull_kc001()
    assert report.loaded == 1
    assert query("select cardinality(notes) from ops.attempt") == [(len(report.notes),)]
    assert len(report.notes) == 3
    # The one that is taken for a manifest is reported once.
    assert pull_kc001().notes == []


def test_names_without_number_are_reported_in_part(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}]})
    for number in range(100):
        (folder / f"{number}.txt").touch()
    notes = pull_kc001().notes
    assert len(notes) == 21
    assert "and 80 more" in notes[-1]


# --- the disk ---


def test_a_slice_that_would_eat_into_the_reserve_is_rejected_alone(
    pull_kc001: Pull, root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_feeds(root)
    deliver(root, {"iuran": [{"id_bayar": f"P-{number}"} for number in range(100)]}, revision=2)
    monkeypatch.setattr(disk, "_free_and_reserve", lambda path: (1_000_000, 997_000))
    report = pull_kc001()
    assert (report.loaded, report.rejected) == (6, 1)
    rejected = (
        "select revision, reason, split_part(detail, ':', 1), landed_uri from ops.slice where status = 'rejected'"
    )
    assert query(rejected) == [(2, "UNREADABLE", "NoSpace", None)]
    assert not list((home / "landing").rglob("iuran.r2.csv"))
    monkeypatch.setattr(disk, "_free_and_reserve", lambda path: (10_000_000, 997_000))
    assert pull_kc001().loaded == 1


def test_a_disk_that_was_full_before_is_no_slices_fault(
    pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_feeds(root)
    monkeypatch.setattr(disk, "_free_and_reserve", lambda path: (100, 1_000_000))
    with pytest.raises(UserError, match="No space left on device"):
        pull_kc001()
    assert slices() == []


def test_rows_that_landing_has_no_room_for_cost_their_slice(
    pull_kc001: Pull, root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_feeds(root)
    spoil_iuran(monkeypatch, disk.NoSpace("landing cannot be written"))
    report = pull_kc001()
    assert (report.loaded, report.rejected) == (4, 2)
    assert not list((home / "landing").rglob("iuran.csv"))


# --- revisions, clocks, names ---


def test_a_date_is_no_revision(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}]})
    respelt(folder / "manifest.json", revision=20231211)
    deliver(root, {"iuran": [{}, {"id_bayar": "P-2"}]}, revision=2)
    for name in ("manifest.r0.json", "manifest.r20231212.json"):
        (folder / name).write_bytes((folder / "manifest.json").read_bytes())
    report = pull_kc001()
    assert slices() == [("iuran", 2, "loaded", None, 2, 2, 0)]
    notes = [note for note in report.notes if "from 1 to 999" in note]
    assert [note.split(":")[0] for note in notes] == [
        "2023-12-11 manifest.json",
        "2023-12-11 manifest.r0.json",
        "2023-12-11 manifest.r20231212.json",
    ]


def test_a_lower_revision_that_comes_later_is_reported(pull_kc001: Pull, root: Path) -> None:
    deliver(root, {"iuran": [{}]}, revision=3)
    pull_kc001()
    deliver(root, {"iuran": [{}]}, revision=2)
    assert "iuran/KC001/2023-12-11/r2 came after a higher revision: it is kept, and superseded" in pull_kc001().notes


def respelt(path: Path, **said: Any) -> None:
    """Says something else in a manifest."""
    path.write_text(json.dumps(json.loads(path.read_text()) | said))


def test_a_manifest_and_its_files_are_found_in_any_case(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}], "kegiatan": [{}]})
    deliver(root, {"iuran": [{}, {"id_bayar": "P-2"}]}, revision=2)
    (folder / "manifest.json").rename(folder / "Manifest.JSON")
    (folder / "manifest.r2.json").rename(folder / "MANIFEST.R2.Json")
    (folder / "iuran.r2.csv").rename(folder / "Iuran.R2.CSV")
    report = pull_kc001()
    assert (report.loaded, report.rejected, report.notes) == (3, 0, [])
    assert [row[:3] for row in slices()] == [
        ("iuran", 1, "superseded"),
        ("iuran", 2, "loaded"),
        ("kegiatan", 1, "loaded"),
    ]


def test_where_two_names_fit_none_is_taken_but_the_exact_one(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}], "kegiatan": [{}]})
    if (folder / "IURAN.CSV").exists():
        pytest.skip("this file system takes both for one")
    (folder / "IURAN.CSV").write_bytes(b"another")
    content = (folder / "kegiatan.csv").read_bytes()
    (folder / "kegiatan.csv").unlink()
    for name in ("Kegiatan.csv", "KEGIATAN.csv"):
        (folder / name).write_bytes(content)
    deliver(root, {"iuran": [{}]}, day=NEXT_DAY)
    other = root / "KC001" / str(NEXT_DAY)
    (other / "Manifest.json").write_bytes((other / "manifest.json").read_bytes())
    (other / "manifest.json").rename(other / "MANIFEST.json")
    report = pull_kc001()
    assert slices() == [
        ("iuran", 1, "loaded", None, 1, 1, 0),
        ("kegiatan", 1, "rejected", "FILE_MISSING", 0, 0, 0),
    ]
    assert len([note for note in report.notes if "several manifests of that name" in note]) == 2


def test_when_a_manifest_was_first_seen_is_kept_with_its_slices(
    pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deliver(root, {"iuran": [{}], "kegiatan": [{}]})
    respelt(folder / "manifest.json", sent_at="2031-01-01T00:00:00+07:00")
    (folder / "kegiatan.csv").rename(folder / "later")
    seen = datetime(2023, 12, 12, 1, tzinfo=UTC)
    monkeypatch.setattr("kkbc.core.clock.now", lambda: seen)
    report = pull_kc001()
    assert [note for note in report.notes if "first seen: the branch's clock is wrong" in note]
    # The file comes after all, and the same manifest is seen again.
    (folder / "later").rename(folder / "kegiatan.csv")
    monkeypatch.setattr("kkbc.core.clock.now", lambda: seen + timedelta(days=3))
    assert pull_kc001().loaded == 1
    assert query("select first_seen_at, settled from ops.manifest") == [(seen, True)]
    assert query("select distinct manifest_seen_at from ops.slice") == [(seen,)]
    # Another content is another manifest.
    respelt(folder / "manifest.json", sent_at="2023-12-16T00:00:00+07:00")
    pull_kc001()
    assert query("select first_seen_at from ops.manifest") == [(seen + timedelta(days=3),)]
    assert query("select distinct manifest_seen_at from ops.slice") == [(seen,)]


def test_rows_are_judged_by_when_their_manifest_was_first_seen(
    pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(root, {"iuran": [{}]})
    seen = datetime(2023, 12, 12, 1, tzinfo=UTC)
    contexts = []

    def take_in(landed: Any, entry: Entry, contract: Any, context: Any, *others: Any) -> Any:
        contexts.append(context)
        return process.take_in(landed, entry, contract, context, *others)

    monkeypatch.setattr("kkbc.core.clock.now", lambda: seen)
    monkeypatch.setattr("kkbc.nights.slice_loader.take_in", take_in)
    pull_kc001()
    assert [context.seen_at for context in contexts] == [seen]


def test_a_slice_that_takes_all_the_time_keeps_later_days_back_for_one_visit_only(
    pull_kc001: Pull, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (10, 11, 12):
        deliver(root, {"iuran": [{"id_bayar": f"P-{day}"}]}, day=date(2023, 12, day))
    slow = date(2023, 12, 10)
    read = FolderTree.read

    def dripping(self: FolderTree, day: date, name: str, most: int) -> Iterator[bytes]:
        if day == slow and name == "iuran.csv":
            raise BranchTimeout("the visit took too long")
        return read(self, day, name, most)

    monkeypatch.setattr(FolderTree, "read", dripping)
    with pytest.raises(BranchTimeout):
        pull_kc001()
    assert slices() == []
    with pytest.raises(BranchTimeout):
        pull_kc001()
    assert query("select business_date from ops.slice where status = 'loaded' order by 1") == [
        (date(2023, 12, 11),),
        (date(2023, 12, 12),),
    ]


def test_a_person_in_the_name_of_a_manifest_is_reported_by_a_mark(pull_kc001: Pull, root: Path) -> None:
    folder = deliver(root, {"iuran": [{}]})
    (folder / "manifest.rBudi Santoso.json").write_text("{}")
    report = pull_kc001()
    assert [note for note in report.notes if "its name has no revision" in note]
    stored = [report.notes, query("select name from ops.manifest"), query("select notes from ops.attempt")]
    assert "Budi" not in str(stored)


def test_days_that_no_calendar_of_the_exchange_has_are_none(pull_kc001: Pull, root: Path) -> None:
    for day in (date(1, 1, 1), date(1899, 12, 31), date(1900, 1, 1)):
        deliver(root, {"iuran": [{"id_bayar": str(day)}]}, day=day)
    pull_kc001()
    assert query("select business_date from ops.slice") == [(date(1900, 1, 1),)]


def test_a_slice_without_a_valid_row_makes_no_partition(pull_kc001: Pull, root: Path) -> None:
    count = "select count(*) from pg_inherits where inhparent = 'raw.contributions'::regclass"
    before = query(count)
    deliver(root, {"iuran": [{"total": "1"}]}, day=date(2019, 5, 1))
    pull_kc001()
    assert query("select rows_quarantined from ops.slice") == [(1,)]
    assert query(count) == before
