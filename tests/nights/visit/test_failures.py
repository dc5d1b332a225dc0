"""What goes wrong with one slice, or with the disk, and what it costs."""

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from kkbc.core import disk
from kkbc.core.errors import BranchUnavailable, UserError
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake import process
from kkbc.intake.sources.manifest import parse_manifest
from kkbc.warehouse import connect
from tests.deliveries import deliver
from tests.nights.visit.pulling import DAY, Pull, query, slices, three_feeds

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
