"""What the board knows of a night."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.watching.board.night import STATES, branch_night, branch_states, pull_again, visit
from kkbc.watching.status import health, status
from tests.watching.board.conftest import DAY, FEEDS, Ops

A_DAY = timedelta(days=1)


def test_before_the_first_night_there_is_nothing(warehouse: str) -> None:
    night = branch_states()
    assert night.branches == []
    assert night.latest is None
    assert branch_night("KC001", DAY) is None
    assert pull_again("KC001") is None
    assert visit(1) is None


def test_a_branch_is_in_the_state_of_its_worst_slice(night_of_all_kinds: Ops) -> None:
    night = branch_states(DAY)
    assert {branch.branch_id: branch.state for branch in night.branches} == {
        "KC001": "on_time",
        "KC002": "late",
        "KC003": "missing",
        "KC004": "held",
        "KC005": "rejected",
        "KC006": "incomplete",
        "KC007": "on_time",
        "KC008": "on_time",
        "KC009": "not_expected",
    }
    assert night.counts == dict(zip(STATES, (1, 1, 1, 1, 1, 3, 1), strict=True))
    assert night.alert == "3 of 8 branches could not be pulled"


def test_rows_are_those_of_what_is_in_force_or_held(night_of_all_kinds: Ops) -> None:
    found = {branch.branch_id: (branch.rows, branch.quarantine_rate) for branch in branch_states(DAY).branches}
    assert found["KC001"] == (30, 0.1)
    assert found["KC003"] == (0, None)
    assert found["KC004"] == (300, 0.8)
    assert found["KC006"] == (20, 0.1)
    assert found["KC007"] == (0, None)
    assert found["KC008"] == (36, 0.0)


def test_a_night_is_three_statements_and_a_branch_five(
    night_of_all_kinds: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    execute = psycopg.Connection.execute

    def count(*given: Any, **more: Any) -> Any:
        asked.append(given)
        return execute(*given, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", count)
    branch_states(DAY)
    assert len(asked) == 3
    branch_night("KC001", DAY)
    assert len(asked) == 3 + 5


def test_history_ends_with_the_night_and_has_holes_where_nothing_came(night_of_all_kinds: Ops) -> None:
    night_of_all_kinds.slices("KC001", day=DAY - 27 * A_DAY)
    night_of_all_kinds.slices("KC001", day=DAY - 28 * A_DAY)
    night_of_all_kinds.slices("KC001", day=DAY + A_DAY)
    histories = {branch.branch_id: branch.history for branch in branch_states(DAY).branches}
    assert histories["KC001"] == (30, *[None] * 25, 30, 30)
    # What is held is not in force.
    assert histories["KC004"] == (*[None] * 26, 30, None)
    assert histories["KC009"] == (None,) * 28


def test_the_latest_night_is_shown_unless_another_is_asked_for(night_of_all_kinds: Ops) -> None:
    assert branch_states().day == DAY
    before = branch_states(DAY - A_DAY)
    assert before.counts["on_time"] == 8
    assert before.alert is None
    assert all(branch.last_visit is None for branch in before.branches)


def test_on_a_day_that_was_not_run_nothing_is_expected(night_of_all_kinds: Ops) -> None:
    for day in (DAY - 2 * A_DAY, DAY + A_DAY, date(1999, 12, 31)):
        night = branch_states(day)
        assert night.counts["not_expected"] == len(night.branches) == 9, day
        assert (night.first, night.latest) == (DAY - A_DAY, DAY)


def test_branches_stand_under_their_regional_offices(night_of_all_kinds: Ops) -> None:
    night_of_all_kinds.branch("KC122")
    night_of_all_kinds.branch("KC999")
    offices = branch_states(DAY).offices
    assert {branch.kanwil_id for branch in offices["Sumbagut"]} == {"KW01"}
    assert [branch.branch_name for branch in offices["Tanpa kantor wilayah"]] == ["KC999"]
    assert sum(map(len, offices.values())) == 11


def test_a_branch_shows_all_revisions_and_the_visits_for_the_night(night_of_all_kinds: Ops) -> None:
    night_of_all_kinds.run("after", DAY + A_DAY)
    night_of_all_kinds.visit("after", "KC003", reason="unasked")
    found = branch_night("KC003", DAY)
    assert found is not None
    assert found.branch.state == "missing"
    assert [row["outcome"] for row in found.visits] == ["failed", "loaded"]
    assert found.branch.last_visit == found.visits[0]["attempt_id"]
    assert found.branch.visits == 2
    # A later night that brings what was missing belongs to the night too.
    night_of_all_kinds.slices("KC003", run_id="after")
    found = branch_night("KC003", DAY)
    assert found is not None
    assert found.visits[0]["reason"] == "unasked"
    restated = branch_night("KC008", DAY)
    assert restated is not None
    assert [(row["feed"], row["revision"]) for row in restated.revisions] == [
        (feed, revision) for feed in sorted(FEEDS) for revision in (2, 1)
    ]


def test_only_visits_by_airflow_have_a_log(night_of_all_kinds: Ops) -> None:
    night_of_all_kinds.run("by hand", DAY, mode="plain")
    night_of_all_kinds.visit("by hand", "KC001")
    by_airflow, by_hand = visit(1), visit(10)
    assert by_airflow == ("night", "KC001")
    assert by_hand is None
    assert {branch.branch_id for branch in branch_states(DAY).branches if branch.has_log} == {
        f"KC00{number}" for number in range(2, 9)
    }


def test_a_branch_is_pulled_again_as_the_latest_night_pulled_it(night_of_all_kinds: Ops) -> None:
    wanted = {"as_of": "2023-12-12", "source_root": "/srv/branches", "ways": {}, "branches": ["KC003"]}
    assert pull_again("KC003") == wanted
    # A run that visited nobody, as a retry of the quarantine, says nothing of how branches are reached.
    night_of_all_kinds.run("retry", DAY + A_DAY)
    assert pull_again("KC003") == wanted
    assert pull_again("KC777") is None


def test_a_warehouse_that_is_not_there_is_reported_in_one_line(home: Path) -> None:
    with pytest.raises(UserError, match="is not running"):
        branch_states()
    assert health() == "down"


def test_health_is_late_when_no_night_was_published_since_the_deadline_before(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2023, 12, 13, 9, 0, tzinfo=clock.JAKARTA)
    monkeypatch.setattr(clock, "now", lambda: now)
    assert health() == "late"
    ops.publication(DAY - 2 * A_DAY, datetime(2023, 12, 12, 4, 59, tzinfo=clock.JAKARTA))
    assert health() == "late"
    ops.publication(DAY - A_DAY, datetime(2023, 12, 12, 5, 0, tzinfo=clock.JAKARTA))
    assert health() == "ok"
    monkeypatch.setattr(clock, "now", lambda: now.replace(day=14, hour=4, minute=59))
    assert health() == "ok"
    monkeypatch.setattr(clock, "now", lambda: now.replace(day=14, hour=5, minute=0))
    assert health() == "late"


def test_health_after_a_rollback_is_that_of_what_was_gone_back_to(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2023, 12, 13, 9, 0, tzinfo=clock.JAKARTA)
    monkeypatch.setattr(clock, "now", lambda: now)
    ops.publication(DAY - 2 * A_DAY, now - 3 * A_DAY)
    ops.publication(DAY, now)
    assert health() == "ok"
    ops.publication(DAY - 2 * A_DAY, now, restores=1)
    assert health() == "late"


def test_the_status_says_what_is_held_and_what_the_operator_was_told(night_of_all_kinds: Ops) -> None:
    found = status().as_json()
    assert found["alert"] == "3 of 8 branches could not be pulled"
    assert [(row["branch_id"], row["feed"], row["rows_sent"]) for row in found["held"]] == [
        ("KC004", feed, 100) for feed in sorted(FEEDS)
    ]
    assert found["missing"] == []
    assert found["publication_id"] is None
    assert found["health"] == "late"
