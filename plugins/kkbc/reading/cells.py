"""Spreadsheet cells as text: what a cell would say had it been typed into a text file."""

import datetime
import re

from kkbc.contracts import Column
from kkbc.reading.numerals import amount

Value = str | float | bool | datetime.datetime | datetime.date | datetime.time | datetime.timedelta

_DATES = {"date", "timestamp", "month"}
_AMOUNTS = {"int", "idr"}
_DAY_0 = datetime.datetime(1899, 12, 30)
_DAY_0_OF_1904 = datetime.datetime(1904, 1, 1)
_LAST_SERIAL = 2_958_465  # 31 Dec 9999
_SERIAL_AS_TEXT = re.compile(r"\s*\d{5}(\.\d+)?\s*")


def blank(value: Value) -> bool:
    """Whether a cell holds nothing that can be seen."""
    return isinstance(value, str) and not value.strip()


def plain(value: Value) -> str:
    """`value` as text whatever its column: whole numbers without decimals, others to the 15 digits sheets keep."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return str(int(value)) if float(value).is_integer() else f"{value:.15g}"
    if isinstance(value, datetime.datetime):
        return _whole_second(value).isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return _hours_and_minutes(value)


def render(value: Value, column: Column, date1904: bool) -> str:
    """`value` as the text that validation reads as the type of `column` (Exchange rules 15, 16, 17).

    Numbers in date columns are serials, in seconds from the day 0 of the workbook's date system. A number for a NIK is
    shown in scientific notation, for its 16th digit is lost even where 16 digits print. What fits no type stays.
    """
    if isinstance(value, str) and column.type not in _DATES:
        return value
    if column.type in _DATES:
        return _date(value, column, date1904)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if column.name == "nik":
            return f"{value:.11E}"
        if column.type in _AMOUNTS:
            return amount(f"{value:.15g}")
    return plain(value)


def _date(value: Value, column: Column, date1904: bool) -> str:
    if isinstance(value, bool):
        return plain(value)
    if isinstance(value, str):
        if not _SERIAL_AS_TEXT.fullmatch(value):
            return value
        moment = _from_serial(float(value), date1904)
    elif isinstance(value, int | float):
        moment = _from_serial(value, date1904)
    elif isinstance(value, datetime.datetime):
        moment = value
    elif isinstance(value, datetime.date):
        moment = datetime.datetime.combine(value, datetime.time())
    else:
        moment = None
    if moment is None:
        return plain(value)
    moment = _whole_second(moment)
    if moment.time() != datetime.time():
        return moment.isoformat()
    if column.type == "month" and moment.day == 1:
        return f"{moment:%Y-%m}"
    return moment.date().isoformat()


def _from_serial(serial: float, date1904: bool) -> datetime.datetime | None:
    """The moment of a serial; None outside of the calendar. Day 60 of 1900, which never was, gives 28 February."""
    if not 1 <= serial < _LAST_SERIAL + 1:
        return None
    # Serials take 1900 for a leap year: up to its 28 February they run a day behind.
    day_0 = _DAY_0_OF_1904 if date1904 else _DAY_0 + datetime.timedelta(days=serial < 60)
    try:
        return day_0 + datetime.timedelta(days=serial)
    except OverflowError:
        return None


def _whole_second(moment: datetime.datetime) -> datetime.datetime:
    try:
        return (moment + datetime.timedelta(milliseconds=500)).replace(microsecond=0)
    except OverflowError:
        return moment.replace(microsecond=0)


def _hours_and_minutes(value: datetime.time | datetime.timedelta) -> str:
    if isinstance(value, datetime.time):
        value = datetime.timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
        )
    minutes = round(value.total_seconds()) // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"
