"""One night with every kind of standing, of which status, board, messages, metrics and branch page say the same.

What is expected is written by hand, by KPI rule 3, Exchange rule 2 and docs/architecture.md, "Standing".
"""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import kkbc.watching
from kkbc.core import clock
from kkbc.warehouse import connect
from kkbc.watching.board.night import branch_night, branch_states
from kkbc.watching.branch import report
from kkbc.watching.notifying.facts import NightFacts, night_facts
from kkbc.watching.notifying.message import compose
from kkbc.watching.status import Status, status
from kkbc.watching.telemetry import night_figures
from tests.watching.board.conftest import DAY, FEEDS, ONE_LATE, Ops, ops
from tests.watching.board.test_pages import HTML, airflow, reader

__all__ = ["airflow", "ops", "reader"]

BEFORE = DAY - timedelta(days=1)
REG, CON, ACT = FEEDS

# State of each branch, and the status of its slices by KPI rule 3 in the order pendaftaran, iuran, kegiatan.
EXPECTED = {
    "KC001": ("on_time", "on_time on_time on_time"),
    "KC002": ("late", "late on_time on_time"),
    "KC003": ("missing", "missing missing missing"),
    "KC004": ("held", "on_time on_time on_time"),
    "KC005": ("rejected", "rejected on_time on_time"),
    "KC006": ("incomplete", "on_time on_time missing"),
    "KC007": ("on_time", "empty empty empty"),
    "KC008": ("on_time", "on_time on_time on_time"),
    "KC009": ("not_expected", ""),
    "KC010": ("held", "late late late"),
    "KC011": ("on_time", "on_time on_time on_time"),
    "KC012": ("rejected", "rejected rejected rejected"),
    "KC013": ("rejected", "on_time rejected missing"),
    "KC014": ("on_time", "on_time on_time on_time"),
}
MISSING, INCOMPLETE, LATE = {"KC003"}, {"KC006": [ACT], "KC013": [ACT]}, {"KC002", "KC010"}
REJECTED = {
    ("KC005", REG): "ROW_COUNT",
    ("KC012", REG): "CHECKSUM",
    ("KC012", CON): "CHECKSUM",
    ("KC012", ACT): "CHECKSUM",
    ("KC013", CON): "CHECKSUM",
}
HELD = {("KC004", REG, DAY), ("KC010", REG, DAY), ("KC010", CON, DAY), ("KC010", ACT, DAY), ("KC014", ACT, BEFORE)}
FAILED = {"KC003": "failed", "KC006": "killed", "KC007": "killed"}
QUARANTINED = {"NIK_FORMAT": 2, "NIK_DATE": 1}


@pytest.fixture
def night(ops: Ops) -> Ops:
    """The night of DAY, published; the first run of it could not reach KC001, the second could."""
    ops.run("first", DAY, outcome="failed")
    ops.run("again", DAY, outcome="published", alert="2 of 14 branches could not be pulled")
    with connect() as conn:
        conn.execute("insert into ops.setting (name, value) values ('first_business_date', %s)", [DAY.isoformat()])
        conn.execute("update ops.run set started_at = started_at - interval '1 hour' where run_id = 'first'")
    for branch_id in EXPECTED:
        ops.branch(branch_id, active_from=DAY + timedelta(days=1) if branch_id == "KC009" else None)
    _deliveries(ops)
    ops.visit("first", "KC001", "failed", reason="BranchTimeout: too slow")
    for branch_id in EXPECTED.keys() - FAILED.keys():
        ops.visit("again", branch_id)
    ops.visit("again", "KC003", "failed", reason="BranchUnavailable: nobody listens")
    ops.visit("again", "KC006", "killed", reason="the process or its connection ended")
    ops.visit("again", "KC007", "running", finished_at=None)
    _quarantine()
    _publish(ops)
    return ops


def _deliveries(ops: Ops) -> None:
    ops.slices("KC001", run_id="again")
    ops.slices("KC002", feeds=[REG], sent_at=ONE_LATE)
    ops.slices("KC002", feeds=[CON, ACT])
    # The gate holds a revision, and the one before it is in force again.
    ops.slices("KC004")
    ops.held(
        "KC004", "ten times as usual", feeds=[REG], revision=2, rows_sent=100, rows_accepted=20, rows_quarantined=80
    )
    # A branch that sent twice what cannot be taken.
    ops.slices("KC005", "rejected", feeds=[REG])
    ops.slices("KC005", "rejected", feeds=[REG], revision=2, reason="ROW_COUNT")
    ops.slices("KC005", feeds=[CON, ACT])
    ops.slices("KC006", feeds=[REG, CON])
    ops.slices("KC007", rows_sent=0, rows_accepted=0, rows_quarantined=0)
    # Restated after the due time: what was sent first counts.
    ops.slices("KC008", "superseded")
    ops.slices("KC008", revision=2, sent_at=ONE_LATE)
    ops.held("KC010", "never so few", sent_at=ONE_LATE)
    # A rejected revision displaces nothing; one that comes after it fixes it.
    ops.slices("KC011")
    ops.slices("KC011", "rejected", feeds=[REG], revision=2, reason="HEADER")
    ops.slices("KC012", "rejected")
    ops.slices("KC013", feeds=[REG])
    ops.slices("KC013", "rejected", feeds=[CON])
    ops.slices("KC014", "rejected", sent_at=clock.due_at(DAY) - timedelta(hours=2))
    ops.slices("KC014", revision=2)
    ops.held("KC014", "of the day before", feeds=[ACT], day=BEFORE)


def _quarantine() -> None:
    rows = [
        ("KC001", 1, 2, ["NIK_DATE", "NIK_FORMAT"], None),
        ("KC004", 2, 2, ["NIK_FORMAT"], None),
        ("KC002", 1, 2, ["NIK_FORMAT"], "accepted"),
        ("KC008", 1, 2, ["NIK_FORMAT"], "superseded"),
    ]
    with connect() as conn:
        for branch_id, revision, line, errors, closed_as in rows:
            conn.execute(
                "insert into ops.quarantine (feed, branch_id, business_date, revision, line, errors, load_id,"
                " closed_as, closed_at)"
                " values (%s, %s, %s, %s, %s, %s, 1, %s, case when %s::text is not null then now() end)",
                [REG, branch_id, DAY, revision, line, errors, closed_as, closed_as],
            )


def _publish(ops: Ops) -> None:
    """Publishes the night, with what the status reads of the marts."""
    ops.publication(DAY, clock.now())
    with connect() as conn:
        conn.execute("update ops.slice set build_id = (select max(build_id) from ops.build)")
        conn.execute("update ops.build set outcome = 'published', run_id = 'again'")
    with connect("publisher") as conn:
        conn.execute("create table bi.kpi_national_daily (business_date date)")
        conn.execute("create table bi.dim_branch (branch_id text, branch_name text)")
        conn.execute(
            "create table bi.kpi_branch_daily (branch_id text, business_date date, registrations int, acquisitions int,"
            " attainment_mtd float8)"
        )
        conn.execute(
            "create table bi.kpi_data_quality_daily (branch_id text, feed text, business_date date, status text)"
        )
        for branch_id, (_, statuses) in EXPECTED.items():
            conn.execute("insert into bi.dim_branch values (%s, %s)", [branch_id, branch_id])
            for feed, found in zip(FEEDS, statuses.split(), strict=False):
                conn.execute(
                    "insert into bi.kpi_data_quality_daily values (%s, %s, %s, %s)", [branch_id, feed, DAY, found]
                )


def facts_of_night(business_date: date = DAY) -> NightFacts:
    with connect("auditor") as conn:
        return night_facts(conn, business_date)


def measured(run_id: str = "again") -> dict[str, float]:
    with connect("auditor") as conn:
        return night_figures(conn, run_id)


def standing_of(found: Status, kind: str) -> set[tuple[str, str]]:
    return {(row["branch_id"], row["feed"]) for row in found.owing if row["status"] == kind}


def statuses(kind: str) -> set[tuple[str, str]]:
    """The slices that are expected to be of a status."""
    return {
        (branch_id, feed)
        for branch_id, (_, found) in EXPECTED.items()
        for feed, status in zip(FEEDS, found.split(), strict=False)
        if status == kind
    }


def test_the_slices_stand_by_kpi_rule_3(night: Ops) -> None:
    with connect("auditor") as conn:
        rows = conn.execute(
            "select branch_id, feed, status, revision, is_in_force from ops.slice_standing where business_date = %s",
            [DAY],
        ).fetchall()
    for kind in ("on_time", "late", "missing", "empty", "rejected"):
        assert {(branch_id, feed) for branch_id, feed, status, *_ in rows if status == kind} == statuses(kind), kind
    revisions = {(branch_id, feed): revision for branch_id, feed, _, revision, _ in rows}
    assert (revisions["KC004", REG], revisions["KC005", REG], revisions["KC008", REG]) == (1, 2, 2)
    assert (revisions["KC011", REG], revisions["KC003", REG]) == (1, None)
    assert {branch_id for branch_id, _, _, _, in_force in rows if not in_force} == {
        "KC003", "KC005", "KC006", "KC010", "KC012", "KC013"
    }  # fmt: skip


def test_all_say_the_same_state_of_a_branch(night: Ops, reader: TestClient) -> None:
    expected = {branch_id: state for branch_id, (state, _) in EXPECTED.items()}
    assert {branch.branch_id: branch.state for branch in branch_states(DAY).branches} == expected
    page = reader.get("/", params={"day": str(DAY)}, headers=HTML).text
    assert {name: state for state, name in re.findall(r'<li class="tile (\w+)" id="(\w+)"', page)} == expected
    for branch_id, state in expected.items():
        found = branch_night(branch_id, DAY)
        assert found is not None
        assert found.branch.state == state
        nights = {row["business_date"]: row for row in report(branch_id).nights}
        assert nights[DAY]["state"] == state if state != "not_expected" else DAY not in nights
        if DAY in nights:
            assert {feed: nights[DAY][feed] for feed in FEEDS} == found.branch.feeds


def test_all_say_the_same_branches_are_missing_and_incomplete(night: Ops) -> None:
    board = branch_states(DAY).branches
    facts, found = facts_of_night(), status()
    assert MISSING == set(found.missing) == set(facts.missing)
    assert {branch.branch_id for branch in board if branch.is_missing} == MISSING
    assert measured()["night.branches_missing"] == len(MISSING)
    assert list(INCOMPLETE) == found.incomplete == list(facts.incomplete)
    assert {
        branch.branch_id: list(branch.feeds_missing)
        for branch in board
        if branch.feeds_missing and not branch.is_missing
    } == INCOMPLETE
    assert facts.incomplete == {branch_id: ", ".join(feeds) for branch_id, feeds in INCOMPLETE.items()}
    assert standing_of(found, "missing") == statuses("missing")
    assert [row[feed] for row in report("KC003").nights for feed in FEEDS] == ["missing"] * 3
    assert facts.branches == sum(branch.is_expected for branch in board) == len(EXPECTED) - 1


def test_all_say_the_same_slices_are_late(night: Ops) -> None:
    assert set(facts_of_night().late) == LATE == {branch for branch, _ in standing_of(status(), "late")}
    assert standing_of(status(), "late") == statuses("late")
    assert {branch.branch_id for branch in branch_states(DAY).branches if branch.is_late} == LATE
    assert {branch for branch in EXPECTED for row in report(branch).nights if row["is_late"]} == LATE


def test_all_say_the_same_slices_are_rejected(night: Ops) -> None:
    found, facts = status(), facts_of_night()
    assert standing_of(found, "rejected") == statuses("rejected") == REJECTED.keys()
    reasons = {(row["branch_id"], row["feed"]): row["reason"] for row in found.owing if row["status"] == "rejected"}
    assert reasons == REJECTED
    assert facts.rejected == {f"{branch} {feed}": reason for (branch, feed), reason in REJECTED.items()}
    assert measured()["night.slices_rejected"] == len(REJECTED)
    assert {
        (branch.branch_id, feed)
        for branch in branch_states(DAY).branches
        for feed, state in branch.feeds.items()
        if state == "rejected"
    } == REJECTED.keys()
    assert {
        (branch, feed)
        for branch in EXPECTED
        for row in report(branch).nights
        for feed in FEEDS
        if row[feed] == "rejected"
    } == REJECTED.keys()
    # A restatement that was rejected is reported, and is no rejected slice.
    assert facts.revisions_rejected == {f"KC011 {REG}": "HEADER"}
    assert [row["reason"] for row in report("KC011").slices if row["status"] == "rejected"] == ["HEADER"]


def test_all_say_the_same_slices_are_held(night: Ops) -> None:
    assert {(row["branch_id"], row["feed"], row["business_date"]) for row in status().held} == HELD
    assert set(facts_of_night().held) == {f"{branch} {feed} {day}" for branch, feed, day in HELD}
    assert measured()["night.slices_held"] == len(HELD)
    shown = {
        (branch.branch_id, feed, day)
        for day in (DAY, BEFORE)
        for branch in branch_states(day).branches
        for feed, state in branch.feeds.items()
        if state == "held"
    }
    reported = {
        (branch, row["feed"], row["business_date"])
        for branch in EXPECTED
        for row in report(branch).slices
        if row["status"] == "held"
    }
    assert shown == reported == HELD


def test_all_say_the_same_visits_failed(night: Ops) -> None:
    board = {branch.branch_id: branch for branch in branch_states(DAY).branches}
    assert {branch_id: one.last_outcome for branch_id, one in board.items() if one.is_failed} == FAILED
    assert facts_of_night().failed == {
        "KC003": "BranchUnavailable",
        "KC006": "the process or its connection ended",
        "KC007": "killed",
    }
    assert measured()["night.branches_failed"] == len(FAILED)
    assert {branch for branch in EXPECTED if report(branch).failing_since} == FAILED.keys()
    assert {branch: report(branch).attempts[0]["outcome"] for branch in FAILED} == FAILED
    assert (board["KC001"].visits, board["KC001"].last_outcome) == (2, "loaded")


def test_all_count_the_same_rows(night: Ops) -> None:
    board = {branch.branch_id: (branch.rows, branch.quarantined) for branch in branch_states(DAY).branches}
    assert {row["code"]: row["rows"] for row in status().quarantined} == facts_of_night().quarantined == QUARANTINED
    # Of what is held an operator sees the rows that it is held for.
    assert (board["KC001"], board["KC004"], board["KC007"]) == ((30, 3), (120, 82), (0, 0))
    for branch_id, rows in board.items():
        assert [(row["rows"], row["quarantined"]) for row in report(branch_id, days=1).nights] in ([rows], [])
    figures = measured()
    assert (figures["night.rows_loaded"], figures["night.rows_quarantined"]) == (27, 3)


def test_all_say_the_same_is_published(night: Ops) -> None:
    def said() -> tuple[Any, ...]:
        found, facts, board = status(), facts_of_night(), branch_states(DAY)
        assert found.published_as_of == facts.live == board.published_as_of
        assert facts.published == bool(measured()["night.published"])
        return facts.published, found.health, measured()["night.publication_age_seconds"] < 3600

    assert said() == (True, "ok", True)
    # What a rollback brings back is as old as when it was published first.
    night.publication(BEFORE, clock.now() - timedelta(days=9))
    with connect() as conn:
        ((publication_id,),) = conn.execute("select max(publication_id) from ops.publication").fetchall()
    night.publication(BEFORE, clock.now(), restores=publication_id)
    assert said() == (False, "late", False)


def test_the_message_reads_so(night: Ops) -> None:
    message = compose(facts_of_night(), "night")
    assert message.subject == "KKBC 12-12-2023: terbit (1 kantor belum kirim, 5 slice ditahan, 5 slice ditolak)"
    lines = message.body.splitlines()
    for line in (
        "Belum kirim (1 dari 13): KC003 Langsa",
        "Belum lengkap (2): KC006: kegiatan; KC013: kegiatan",
        "Revisi ditolak (1): KC011 pendaftaran: HEADER",
        "Karantina terbanyak (baris): NIK_FORMAT 2, NIK_DATE 1",
    ):
        assert line in lines


def test_whoever_tells_people_of_a_night_reads_views_alone() -> None:
    """What a slice, a visit or a publication means is decided in migration 0016 and nowhere else."""
    texts = {path: path.read_text(encoding="utf-8") for path in Path(kkbc.watching.__file__).parent.rglob("*.py")}
    asked = {name for text in texts.values() for name in re.findall(r"(?:from|join|into|update) ops\.(\w+)", text)}
    # The registry, the build of an audit, the messages that the watching itself keeps, and how long the record of
    # accesses is, which says nothing of a slice.
    tables = {"access", "branch", "build", "notification"}
    views = {
        "audit_result", "branch_failing", "branch_rows", "branch_standing", "branch_visit", "data_warning",
        "held_slice", "night", "night_span", "publication_live", "quarantine_by_code", "revision", "run_step",
        "run_summary", "slice_standing", "visit",
    }  # fmt: skip
    assert asked == tables | views
