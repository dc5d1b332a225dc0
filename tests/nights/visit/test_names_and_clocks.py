"""Revisions, names and clocks of deliveries, as a visit takes them."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.errors import BranchTimeout
from kkbc.exchange.slices import Entry
from kkbc.intake import process
from kkbc.intake.sources.folder import FolderTree
from tests.deliveries import deliver
from tests.nights.visit.pulling import NEXT_DAY, Pull, query, slices


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
