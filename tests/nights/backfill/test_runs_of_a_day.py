"""An hourly schedule gives a backfill many runs for one business date; exactly one of them does the work."""

from datetime import datetime, timedelta

import pytest

from kkbc.core.clock import JAKARTA, latest_due
from kkbc.nights.backfill import is_first_of_its_day

NIGHT = "35 0-6,19-23 * * *"


@pytest.mark.parametrize(("schedule", "hour", "minute"), [(NIGHT, 0, 35), ("0 5 * * *", 5, 0), ("*/20 * * * *", 0, 40)])
def test_one_run_a_business_date(schedule: str, hour: int, minute: int) -> None:
    begin = datetime(2023, 12, 11, tzinfo=JAKARTA)
    moments = [begin + timedelta(minutes=5 * number) for number in range(3 * 24 * 12)]
    chosen = [moment for moment in moments if fires(schedule, moment) and is_first_of_its_day(schedule, moment)]
    assert [(moment.hour, moment.minute) for moment in chosen] == [(hour, minute)] * 3
    assert len({latest_due(moment) for moment in chosen}) == 3


def fires(schedule: str, moment: datetime) -> bool:
    from croniter import croniter

    return bool(croniter.match(schedule, moment))


def test_without_a_schedule_every_run_does_its_work() -> None:
    assert is_first_of_its_day(None, datetime(2023, 12, 11, 3, tzinfo=JAKARTA))
