"""Days and instants of the play: a day is a calendar day in Asia/Jakarta, an instant whole seconds since 1970 UTC."""

import calendar
from datetime import date, timedelta
from functools import lru_cache

DAY = 86_400
JAKARTA_HOURS = 7
_EPOCH = date(1970, 1, 1)
_FIXED_HOLIDAYS = {(1, 1), (5, 1), (6, 1), (8, 17), (12, 25)}


def midnight(day: date) -> int:
    """The instant at which `day` begins in Jakarta."""
    return (day - _EPOCH).days * DAY - JAKARTA_HOURS * 3600


def jakarta_day(instant: int) -> date:
    """The calendar day in Jakarta that holds `instant`."""
    return _EPOCH + timedelta(days=(instant + JAKARTA_HOURS * 3600) // DAY)


@lru_cache(maxsize=200_000)
def add_months(day: date, months: int) -> date:
    """`day` moved by whole months, clipped to the end of the month: 31 January + 1 month is 28 or 29 February."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    month += 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


@lru_cache(maxsize=10_000)
def month_of(day: date) -> str:
    """The month that holds `day`, as YYYY-MM."""
    return f"{day:%Y-%m}"


@lru_cache(maxsize=10_000)
def month_end(day: date) -> date:
    """The last day of the month that holds `day`."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def age_on(birth: date, day: date) -> int:
    """Completed years on `day`; who is born on 29 February completes a year on 1 March of a common year."""
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


def is_holiday(day: date) -> bool:
    """Whether `day` is one of the public holidays that keep their date from year to year."""
    return (day.month, day.day) in _FIXED_HOLIDAYS
