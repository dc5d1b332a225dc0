"""Pulling one branch of kind file, from the manifest to committed rows."""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from kkbc.core.errors import BranchUnavailable
from kkbc.exchange.masking import shown_name
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources import Manifest, Wanted
from kkbc.warehouse import connect, locks
from tests.deliveries import deliver
from tests.nights.visit.pulling import Pull, query, slices


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
