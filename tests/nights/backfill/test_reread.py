"""Slices that are read again from landing are what a first load by today's rules would make of them."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.errors import UserError
from kkbc.nights import backfill, night
from kkbc.nights.night import Wishes
from kkbc.slices.quarantine import Deed, Selection
from kkbc.slices.reread import RereadReport, reread
from kkbc.warehouse import connect, server
from tests.slices.quarantine.scene import (
    DAY,
    NEW,
    Office,
    Rules,
    accepted,
    events,
    fresh_warehouse,
    quarantined,
    query,
    retry_now,
    state,
)

DEED = Deed("the code list was corrected", "a tester")


def reread_now(branch_id: str = "KC001", since: date = DAY, until: date = DAY) -> RereadReport:
    with connect("loader", autocommit=True) as conn:
        return reread(conn, branch_id, since, until, DEED)


def test_nothing_but_the_load_changes_when_the_rules_are_the_same(office: Office) -> None:
    office.sends({"no_pendaftaran": "A"}, {"no_pendaftaran": "B", **NEW}, {"no_pendaftaran": "B"})
    before, rows = state(), quarantined()
    summary = reread_now().summary()
    assert summary == {"slices": 1, "rows": 3, "accepted": 2, "passed": 0, "found": 0, "failed": {}}
    assert state() == before
    assert quarantined() == rows
    assert events() == []
    assert query("select build_id, cardinality(retry_load_ids) from ops.slice") == [(None, 1)]
    assert query("select distinct _load_id = retry_load_ids[1] from raw.registrations, ops.slice") == [(True,)]


def test_rules_that_let_rows_in_and_keep_rows_out(
    office: Office, rules: Rules, pg: server.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One row is let in by the new code list, one is kept out by it, one has other codes, one is bad as before."""
    office.sends(
        {"no_pendaftaran": "A", "kanal": "PASAR"},
        {"no_pendaftaran": "B", **NEW},
        {"no_pendaftaran": "C", "kanal": "RADIO"},
        {"no_pendaftaran": "D", **NEW, "tgl_lahir": "1890-01-01"},
        {"no_pendaftaran": "E", "tgl_lahir": "1890-01-01"},
    )
    assert [row[0] for row in accepted()] == ["A", "C"]
    rules.correct()
    rules.change("contracts/pendaftaran.odcs.yaml", " RADIO,", "")
    (done,) = reread_now().slices
    assert (done.rows, done.accepted, done.passed, done.found) == (5, 2, 1, 1)
    assert [row[0] for row in accepted()] == ["A", "B"]
    assert [(line, event) for line, event, _, _ in events()] == [(3, "accepted"), (4, "found"), (5, "judged_anew")]
    assert [(line, closed) for line, _, closed in quarantined()] == [
        (3, "accepted"),
        (4, None),
        (5, None),
        (6, None),
    ]
    here = state()
    with fresh_warehouse(pg, monkeypatch, tmp_path / "fresh"):
        office.pull()
        assert state() == here
    rules.correct()
    assert reread_now().summary()["passed"] == 1
    assert [row[0] for row in accepted()] == ["A", "B", "C"]
    assert [event for line, event, _, _ in events() if line == 4] == ["found", "accepted"]


def test_rows_that_a_retry_brought_or_a_person_resolved_are_judged_like_all(office: Office, rules: Rules) -> None:
    office.sends({"no_pendaftaran": "A", **NEW}, {"no_pendaftaran": "B", **NEW}, {"no_pendaftaran": "C"})
    rules.correct()
    retry_now(Selection(line=2))
    query_once("update ops.quarantine set closed_at = now(), closed_as = 'resolved' where line = 3")
    before = state()
    (done,) = reread_now().slices
    assert (done.accepted, done.passed, done.found) == (3, 1, 0)
    assert [row[0] for row in accepted()] == ["A", "B", "C"]
    assert before != state()
    # The slice is the load that it was, for what was published of it cannot be held back any more.
    assert query("select load_id, rows_accepted, rows_quarantined from ops.slice") == [(1, 3, 0)]
    rules.change("contracts/pendaftaran.odcs.yaml", " JMO,", "")
    assert reread_now().summary()["found"] == 2
    assert [(line, closed) for line, _, closed in quarantined()] == [(2, None), (3, None)]


def test_only_slices_in_force_of_those_days_and_that_branch(office: Office) -> None:
    office.sends({"no_pendaftaran": "A"})
    office.sends({"no_pendaftaran": "A"}, {"no_pendaftaran": "B"}, revision=2)
    assert [str(done.slice) for done in reread_now().slices] == ["pendaftaran/KC001/2023-12-11/r2"]
    assert reread_now("KC002").slices == []
    assert reread_now(until=DAY - timedelta(days=1), since=DAY - timedelta(days=9)).slices == []
    query_once("update ops.slice set status = 'held' where revision = 2")
    assert reread_now().slices == []


def test_a_landed_file_that_is_gone_or_altered_leaves_its_slice_as_it_was(office: Office, home: Path) -> None:
    office.sends({"no_pendaftaran": "A"})
    office.sends({"id_bayar": "P"}, feed="iuran", revision=2)
    before = state()
    (payments,) = (home / "landing").rglob("iuran.r2.csv")
    payments.write_bytes(payments.read_bytes() + b"\n")
    report = reread_now()
    assert [done.slice.feed for done in report.slices] == ["pendaftaran"]
    assert report.failed == {
        "iuran/KC001/2023-12-11/r2": "the landed file of iuran/KC001/2023-12-11/r2 is not the one that was loaded:"
        " restore landing from its backup"
    }
    shutil.rmtree(payments.parent)
    with pytest.raises(UserError, match=r"1 slices of KC001 could not be read again: iuran.* restore landing"):
        backfill.reread_branch("KC001", DAY, DAY, DEED)
    assert state() == before


def test_a_file_that_todays_reader_refuses_leaves_its_slice_as_it_was(office: Office, rules: Rules) -> None:
    office.sends({"no_pendaftaran": "A"})
    before = state()
    rules.change("contracts/pendaftaran.odcs.yaml", "no_pendaftaran", "nomor_lain")
    (reason,) = reread_now().failed.values()
    assert reason.startswith("HEADER")
    assert state() == before


def test_a_crash_half_way_leaves_the_slice_as_it_was(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.sends({"no_pendaftaran": "A"}, {"no_pendaftaran": "B", **NEW})
    before = state()

    def crash(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("kkbc.slices.reread._settle_quarantine", crash)
        with pytest.raises(RuntimeError):
            reread_now()
    assert state() == before
    reread_now()
    assert state() == before


def test_a_run_of_a_backfill_stands_for_the_latest_day_and_names_its_branches(office: Office) -> None:
    with pytest.raises(UserError, match="no night has run yet"):
        backfill.open_backfill("b", DAY, DAY, mode="plain")
    office.sends({"no_pendaftaran": "A"})
    night.open_run(Wishes(DAY + timedelta(days=4), office.root), mode="plain", run_id="later")
    assert backfill.open_backfill("b", DAY, DAY, mode="plain") == ["KC001"]
    assert backfill.open_backfill("b", DAY, DAY, mode="plain", branch_ids=["KC002"]) == []
    assert query("select as_of from ops.run where run_id = 'b'") == [(DAY + timedelta(days=4),)]
    with pytest.raises(UserError, match="no day is from 2023-12-11 until 2023-12-10"):
        backfill.open_backfill("b", DAY, DAY - timedelta(days=1), mode="plain")
    assert backfill.latest_as_of(DAY) == DAY + timedelta(days=4)
    assert backfill.latest_as_of(DAY + timedelta(days=9)) == DAY + timedelta(days=9)


def test_branches_are_asked_up_to_the_latest_day_that_was_run(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a branch restored of an earlier day comes in by a night like any other, and the marts end where they did."""
    later = DAY + timedelta(days=4)
    night.open_run(Wishes(later, office.root), mode="plain", run_id="later")
    asked: list[Wishes] = []
    monkeypatch.setattr("kkbc.nights.plain.run_night", lambda wishes, *_: asked.append(wishes) or {"failed": {}})
    monkeypatch.setattr("kkbc.nights.backfill.prepare", lambda: None)
    backfill.backfill_from_branches(DAY, Wishes(source_root=office.root, gate="warn"), progress=lambda *_: None)
    assert asked == [Wishes(later, office.root, gate="warn")]


def query_once(statement: str) -> None:
    with connect() as conn:
        conn.execute(statement.encode())
