"""By 05:00 Asia/Jakarta a night is published, or somebody is told, even when nothing was run at all."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from kkbc.core import clock
from kkbc.watching.notifying import check_deadline, notify
from tests.watching.notifying.conftest import DAY, a_build, a_run, run


def at(hour: int, minute: int, days_later: int = 1) -> datetime:
    """A moment in Jakarta on the morning after DAY."""
    return datetime(2023, 12, 11, hour, minute, tzinfo=clock.JAKARTA) + timedelta(days=days_later)


def checked(moment: datetime) -> tuple[str, bool, list[Any]]:
    found = check_deadline(moment)
    return found["business_date"], found["published"], [notice["kind"] for notice in found["notices"]]


def test_nothing_was_run_at_all(warehouse: str) -> None:
    assert checked(at(5, 0)) == ("2023-12-11", False, ["deadline"])
    assert checked(at(5, 1)) == ("2023-12-11", False, [])
    ((subject, body),) = run("select subject, body from ops.notification")
    assert subject == "KKBC 11-12-2023: BELUM TERBIT pada pukul 05.00 WIB"
    assert "malam ini tidak dijalankan" in body


@pytest.mark.parametrize(
    ("hour", "minute", "due"), [(4, 59, "2023-12-10"), (5, 0, "2023-12-11"), (23, 59, "2023-12-11")]
)
def test_the_clock_decides_which_night_is_due(branches: None, hour: int, minute: int, due: str) -> None:
    a_run("before", DAY - timedelta(days=1))
    a_build("before", DAY - timedelta(days=1))
    found = checked(at(hour, minute))
    assert found[0] == due
    # Only that night's own publication will do.
    assert found[1:] == ((True, []) if due == "2023-12-10" else (False, ["deadline"]))


def test_what_is_published_is_no_alarm(bad_night: str) -> None:
    assert checked(at(5, 0)) == ("2023-12-11", True, [])


def test_an_alarm_is_reported_next_to_the_message_of_the_night(branches: None) -> None:
    a_run("r")
    a_build("r", outcome="gate_failed")
    assert [notice.kind for notice in notify()] == ["night"]
    assert checked(at(5, 0))[2] == ["deadline"]
    assert notify() == []
    a_build("r")
    assert [notice.kind for notice in notify()] == ["recovered"]


def test_what_could_not_be_sent_before_goes_out_with_it(branches: None) -> None:
    a_run("r")
    a_build("r")
    notify()
    run("update ops.notification set sent_at = null")
    assert checked(at(5, 0)) == ("2023-12-11", True, ["night"])
