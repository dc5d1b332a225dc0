"""Spreadsheet cells as text: what a cell would say had it been typed into a text file."""

import datetime
import re
from decimal import Decimal

from kkbc.exchange.contracts import Column
from kkbc.intake.reading.numerals import amount
from kkbc.intake.spreadsheets.sheet import INVISIBLE, Value

_DATES = {"date", "timestamp", "month"}
_AMOUNTS = {"int", "idr"}
_DAY_0 = datetime.datetime(1899, 12, 30)
_DAY_0_OF_1904 = datetime.datetime(1904, 1, 1)
_LAST_SERIAL = 2_958_465  # 31 Dec 9999
_SERIAL_AS_TEXT = re.compile(rf"[\s{INVISIBLE}]*([0-9]{{5}}(\.[0-9]+)?)[\s{INVISIBLE}]*")
_PRECISE = 10**15
"""Whole numbers from here on have more digits than the 15 that a sheet keeps."""


def plain(value: Value, date1904: bool = False) -> str:
    """`value` as text whatever its column: whole numbers without decimals, others to the 15 digits sheets keep."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return str(int(value)) if float(value).is_integer() else f"{Decimal(f'{value:.15g}'):f}"
    serial, elapsed = value
    if not 0 <= serial < _LAST_SERIAL + 1:
        return plain(serial)
    moment = None if elapsed else _from_serial(serial, date1904)
    return _hours_and_minutes(serial) if moment is None else _iso(moment)


def render(value: Value, column: Column, date1904: bool) -> str:
    """`value` as the text that validation reads as the type of `column` (Exchange rules 15, 16, 17, 26).

    Numbers in date columns are serials, in seconds from the day 0 of the workbook's date system. A number for a NIK is
    shown in scientific notation, for its 16th digit is lost even where 16 digits print, and so is any other identifier
    of more digits than a sheet keeps. What fits no type stays.
    """
    if column.type in _DATES:
        return _date(value, column, date1904)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if column.type in _AMOUNTS:
            return amount(f"{value:.15g}")
        if column.is_nik or (column.identifier and abs(value) >= _PRECISE):
            return f"{value:.11E}"
    return plain(value, date1904)


def _date(value: Value, column: Column, date1904: bool) -> str:
    if isinstance(value, bool):
        return plain(value)
    if isinstance(value, str):
        found = _SERIAL_AS_TEXT.fullmatch(value)
        if not found:
            return value
        serial = float(found[1])
    else:
        serial = value[0] if isinstance(value, tuple) else value
    moment = _from_serial(serial, date1904)
    if moment is None:
        return plain(value, date1904)
    if column.type == "month" and moment.day == 1 and moment.time() == datetime.time():
        return f"{moment:%Y-%m}"
    return _iso(moment)


def _from_serial(serial: float, date1904: bool) -> datetime.datetime | None:
    """The moment of a serial, to the second; None outside of the calendar.

    Day 60 of 1900, which never was, gives 28 February.
    """
    if not 1 <= serial < _LAST_SERIAL + 1:
        return None
    # Serials take 1900 for a leap year: up to its 28 February they run a day behind.
    day_0 = _DAY_0_OF_1904 if date1904 else _DAY_0 + datetime.timedelta(days=serial < 60)
    try:
        return day_0 + datetime.timedelta(seconds=round(serial * 86400))
    except OverflowError:
        return None


def _iso(moment: datetime.datetime) -> str:
    """A day, with its time unless that is midnight."""
    return moment.isoformat() if moment.time() != datetime.time() else moment.date().isoformat()


def _hours_and_minutes(serial: float) -> str:
    minutes = round(serial * 86400) // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"
