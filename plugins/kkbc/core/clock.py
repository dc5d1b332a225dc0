"""Calendar of the exchange: business dates, due times, zones.

Head office lives in Asia/Jakarta (UTC+7, no summer time).
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

JAKARTA = ZoneInfo("Asia/Jakarta")
DUE_TIME = time(0, 30)
# By then somebody looks at the dashboards.
PUBLISHED_BY = time(5, 0)
# No other days are business dates, as no others are dates in a row (Exchange rule 25).
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2100, 12, 31)


def now() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC)


def day_of(name: str) -> date | None:
    """The business date that a folder's name stands for, in the one valid spelling; None for any other name."""
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    return day if day.isoformat() == name and FIRST_DAY <= day <= LAST_DAY else None


def due_at(business_date: date) -> datetime:
    """The last instant at which a delivery of `business_date` is on time: 00:30 Jakarta of the next day."""
    return datetime.combine(business_date + timedelta(days=1), DUE_TIME, JAKARTA)


def end_of_day(business_date: date) -> datetime:
    """24:00 Jakarta of `business_date`; an event after this instant lies in the future (Exchange rule 5)."""
    return datetime.combine(business_date + timedelta(days=1), time(0), JAKARTA)


def latest_due(at: datetime) -> date:
    """The latest business date whose due time has passed at `at` (KPI rule 2, `as_of`)."""
    local = at.astimezone(JAKARTA)
    days_back = 1 if local.time() > DUE_TIME else 2
    return local.date() - timedelta(days=days_back)


def last_deadline(at: datetime) -> datetime:
    """The latest instant up to `at` by which a night had to be published: 05:00 Jakarta."""
    local = at.astimezone(JAKARTA)
    day = local.date() if local.time() >= PUBLISHED_BY else local.date() - timedelta(days=1)
    return datetime.combine(day, PUBLISHED_BY, JAKARTA)
