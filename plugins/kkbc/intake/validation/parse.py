"""Text of a delivery to typed values, as Polars expressions (exchange, "What files look like"; Exchange rules 15-18,
25, 32).

Spellings that the exchange does not list are not guessed at: a quarantined row is fixed by its branch, a misread one
is noticed by nobody.
"""

from collections.abc import Sequence

import polars as pl

from kkbc.exchange.contracts import Column, ExchangeType
from kkbc.intake.validation.tidy import ILLEGIBLE

DTYPES: dict[ExchangeType, pl.DataType] = {
    "text": pl.String(),
    "code": pl.String(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
    "int": pl.Int64(),
    "idr": pl.Int64(),
    "month": pl.Date(),
}
"""What each exchange type becomes. Timestamps are instants, months their first day."""

MISSING = ("-", "NULL", "nan", "N/A")
_LONGEST_MISSING = max(len(text) for text in (*MISSING, ILLEGIBLE))
MONTHS = (
    ("januari", "january", "jan"),
    ("februari", "february", "feb"),
    ("maret", "march", "mar"),
    ("april", "apr"),
    ("mei", "may"),
    ("juni", "june", "jun"),
    ("juli", "july", "jul"),
    ("agustus", "august", "agu", "agt", "ags", "aug"),
    ("september", "sept", "sep"),
    ("oktober", "october", "okt", "oct"),
    ("november", "nopember", "nov", "nop"),
    ("desember", "december", "des", "dec"),
)
"""Spellings of the months, Indonesian and English, any case; where one begins with another the longer stands first."""

_NUMBER_OF = {spelling: str(number) for number, month in enumerate(MONTHS, start=1) for spelling in month}

WEEKDAYS = (
    ("senin", "sen", "monday", "mon"),
    ("selasa", "sel", "tuesday", "tues", "tue"),
    ("rabu", "rab", "wednesday", "wed"),
    ("kamis", "kam", "thursday", "thurs", "thur", "thu"),
    ("jumat", "jum'at", "jum", "friday", "fri"),
    ("sabtu", "sab", "saturday", "sat"),
    ("minggu", "ahad", "min", "sunday", "sun"),
)
"""Words that may stand before the day of a date, any case. Nobody checks that the date is of that weekday."""

ZONES = {"Z": "+00:00", "WIB": "+07:00", "WITA": "+08:00", "WIT": "+09:00"}
"""Offsets from UTC of what may stand behind a time instead of one (Exchange rules 15, 32)."""

LARGEST = 10**12
"""No number is further from 0 (Exchange rule 16), so that sums over any number of rows can be known."""

_BLANK = r"[\p{Zs}\t]"
_YEAR = "(?:19[0-9]{2}|20[0-9]{2}|2100)"  # the calendar date as written, whatever the offset (Exchange rule 25)
_MONTH_NAME = f"(?i:{'|'.join(_NUMBER_OF)})"
_WEEKDAY = f"(?i:{'|'.join(name for names in WEEKDAYS for name in names)})(?:,{_BLANK}*|{_BLANK}+)"
_DATE = (
    rf"(?:(?P<iso>{_YEAR}-[0-9]{{1,2}}-[0-9]{{1,2}})"
    rf"|(?P<year_first>{_YEAR}(?:/[0-9]{{1,2}}/[0-9]{{1,2}}|[0-9]{{4}}))"
    rf"|(?:{_WEEKDAY})??(?P<day>[0-9]{{1,2}})"
    rf"(?P<month>/(?:[0-9]{{1,2}}|{_MONTH_NAME})/|-(?:[0-9]{{1,2}}|{_MONTH_NAME})-|\.[0-9]{{1,2}}\."
    rf"|{_BLANK}+{_MONTH_NAME}{_BLANK}+)"
    rf"(?P<year>{_YEAR}))"
)
# A second of 60 is refused here, for the parser takes it as a leap second.
_TIME = (
    rf"(?:(?:T|{_BLANK}+)"
    r"(?:(?P<clock>[0-9]{1,2}:[0-9]{2})(?:(?P<seconds>:[0-5][0-9])(?:\.(?P<fraction>[0-9]+))?)?"
    r"|(?P<dotted>[0-9]{1,2}\.[0-9]{2}(?:\.[0-5][0-9])?))"
    rf"(?P<zone>[+-][0-9]{{2}}(?::?[0-9]{{2}})?|Z|{_BLANK}*(?i:WIB|WITA|WIT))?)?"
)
_ISO = "%Y-%m-%dT%H:%M:%S"  # with %.f the parser takes four times as long
_MONTH = rf"(?P<iso>{_YEAR}-[0-9]{{2}})"

# Exchange rule 16: one sign groups, behind one to three digits and before three each. Another, or the same where it
# does not group, is decimal, and only zeros follow it.
_GROUPED = r"[0-9]{1,3}(?:(?:\.[0-9]{3})+|(?:,[0-9]{3})+)"
_DIGITS = r"(?:[0-9]+(?:[.,]0+)?|[0-9]{1,3}(?:(?:\.[0-9]{3})+(?:,0+)?|(?:,[0-9]{3})+(?:\.0+)?))"
_PLAIN_DAY = "(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}"
_PLAIN: dict[ExchangeType, str] = {
    "int": "^(?:-?[0-9]{1,18})?$",
    "idr": "^(?:-?[0-9]{1,18})?$",
    "date": f"^(?:{_PLAIN_DAY})?$",
    "timestamp": f"^(?:{_PLAIN_DAY}[T ][0-9]{{2}}:[0-9]{{2}}(?::[0-5][0-9])?)?$",
}
"""The usual spelling of a type, or no value: what nearly all columns of nearly all files keep to. Such a column is read
by a short way, which comes to the same as the long one."""

_RUPIAH = rf"(?i:rp){_BLANK}*"


def text_of(column: Column) -> str:
    """Name of the column that holds the text of `column`: null where missing, there where it cannot be read."""
    return f"text:{column.name}"


def plain_columns(cells: pl.DataFrame, columns: Sequence[Column]) -> frozenset[str]:
    """Names of the columns whose texts, as `tidy` leaves them, are all of the usual spelling of their type."""
    patterns = {column.name: _PLAIN[column.type] for column in columns if column.type in _PLAIN}
    if not patterns:
        return frozenset()
    found = cells.select(pl.col(name).str.contains(pattern).all() for name, pattern in patterns.items()).row(0)
    return frozenset(name for name, is_plain in zip(patterns, found, strict=True) if is_plain)


def is_complete(cells: pl.DataFrame, columns: Sequence[Column], plain: frozenset[str]) -> bool:
    """Whether every required cell, as `tidy` leaves it, holds a text that can be read: so in nearly all files.

    `plain` are the `plain_columns`: those may lack a text, and hold none that says so.
    """
    required = [column for column in columns if column.required]
    if not cells.height or any(cells[column.name].null_count() for column in required):
        return False
    shortest = cells.select(pl.col(column.name).str.len_bytes().min() for column in required).row(0)
    if 0 in shortest:
        return False
    doubtful = [c for c, least in zip(required, shortest, strict=True) if least <= _LONGEST_MISSING]
    lacking = [pl.col(c.name).str.contains(rf"{_missing(c)}|\x00").any() for c in doubtful if c.name not in plain]
    return not lacking or not any(cells.select(lacking).row(0))


def steps(column: Column, zone: str, *, plain: bool = False, complete: bool = False) -> list[pl.Expr]:
    """From the text of `column`, as `tidy` leaves it, to its typed values, null where missing or not to be read.

    Each expression uses what the one before it left, under the column's name, as its text or its parts; `zone` is that
    of timestamps without an offset, `plain` says that the column is one of `plain_columns`, `complete` that its cells
    all hold a text: then no column of texts is left. In steps, because an expression that mentions another twice
    doubles it.
    """
    name, parts_name = column.name, f"parts:{column.name}"
    value, text, parts = pl.col(name), pl.col(text_of(column)), pl.col(parts_name)
    pattern: str | None = None
    typing: list[pl.Expr]
    match column.type:
        case "text" | "code":
            typing = []
        case "int" | "idr" if plain:
            typing = [value.cast(pl.Int64, strict=False), _in_bounds(value)]
        case "date" if plain:
            typing = [value.str.to_date("%Y-%m-%d", strict=False)]
        case "timestamp" if plain:
            typing = [_plain_timestamp(value), _at_zone(value, zone)]
        case "int":
            typing = [_number(value, f"-?{_DIGITS}"), _in_bounds(value)]
        case "idr":
            typing = [_number(value, f"(?:-?(?:{_RUPIAH})?|{_RUPIAH}-){_DIGITS}"), _in_bounds(value)]
        case "month":
            first = pl.concat_str(parts.struct.field("iso"), pl.lit("-01"))
            pattern, typing = _MONTH, [first.str.to_date("%Y-%m-%d", strict=False)]
        case "date":
            pattern, typing = _DATE, [_iso_date(parts).str.to_date("%Y-%m-%d", strict=False)]
        case "timestamp":
            pattern, typing = _DATE + _TIME, [_iso_timestamp(parts), _instant(value, parts, zone)]
    splitting = [value.str.extract_groups(f"^{pattern}$").alias(parts_name)] if pattern else []
    if complete:
        upper = [value.str.to_uppercase()] if column.type == "code" else []
        return [*(step.alias(name) for step in upper), *splitting, *(step.alias(name) for step in typing)]
    default = [_or_default(value, text, column)] if column.default is not None else []
    return [
        _present(value, column).alias(text_of(column)),
        pl.when(text != ILLEGIBLE).then(text).alias(name),
        *splitting,
        *(step.alias(name) for step in [*typing, *default]),
    ]


def _present(text: pl.Expr, column: Column) -> pl.Expr:
    """The text, of codes in upper case; null where it says that there is no value."""
    present = pl.when(~text.str.contains(_missing(column))).then(text)
    return present.str.to_uppercase() if column.type == "code" else present


def _missing(column: Column) -> str:
    return f"(?i)^(?:{'|'.join(token for token in MISSING if token not in column.not_missing)})?$"


def _or_default(value: pl.Expr, text: pl.Expr, column: Column) -> pl.Expr:
    # Where the text is missing; a value that cannot be read stays unknown.
    return pl.when(text.is_null()).then(pl.lit(column.default, DTYPES[column.type])).otherwise(value)


def _number(text: pl.Expr, pattern: str) -> pl.Expr:
    is_grouped_to_its_end = text.str.contains(rf"^[^0-9]*{_GROUPED}$")
    whole = pl.when(is_grouped_to_its_end).then(text).otherwise(text.str.replace(r"[.,]0+$", ""))
    digits = pl.when(text.str.contains(f"^{pattern}$")).then(whole.str.replace_all(r"[^0-9-]+", ""))
    return digits.cast(pl.Int64, strict=False)


def _in_bounds(number: pl.Expr) -> pl.Expr:
    return pl.when(number.is_between(-LARGEST, LARGEST)).then(number)


def _iso_date(parts: pl.Expr) -> pl.Expr:
    """The date as year-month-day, whether or not there is such a day; null where the spelling is unknown."""
    field = parts.struct.field
    year_first = field("year_first").str.replace("^(.{4})/?([0-9]{1,2})/?([0-9]{1,2})$", "$1-$2-$3")
    month = (
        field("month")
        .str.strip_chars("/-.")
        .str.strip_chars()
        .str.replace_many(_NUMBER_OF, ascii_case_insensitive=True, leftmost=True)
    )
    day_first = pl.concat_str(field("year"), month, field("day"), separator="-")
    return pl.coalesce(field("iso"), year_first, day_first)


def _iso_timestamp(parts: pl.Expr) -> pl.Expr:
    """The same with the time to the second, 00:00 where none was written, and the offset from UTC, if one was."""
    field = parts.struct.field
    clock = pl.concat_str(field("clock"), field("seconds").fill_null(":00"))
    dotted = field("dotted").str.replace_all(".", ":", literal=True)
    dotted = pl.concat_str(
        dotted, pl.when(dotted.str.len_bytes() <= len("00:00")).then(pl.lit(":00")).otherwise(pl.lit(""))
    )
    zone = field("zone").str.strip_chars().str.to_uppercase().replace(ZONES)
    minutes = pl.when(zone.str.len_bytes() == len("+07")).then(pl.lit(":00")).otherwise(pl.lit(""))
    offset = pl.concat_str(zone, minutes).fill_null("")
    return pl.concat_str(_iso_date(parts), pl.lit("T"), pl.coalesce(clock, dotted, pl.lit("00:00:00")), offset)


def _plain_timestamp(text: pl.Expr) -> pl.Expr:
    seconds = pl.when(text.str.len_bytes() == len("2023-12-31 00:00")).then(pl.lit(":00")).otherwise(pl.lit(""))
    return pl.concat_str(text.str.head(10), pl.lit("T"), text.str.slice(11), seconds)


def _at_zone(iso: pl.Expr, zone: str) -> pl.Expr:
    local = iso.str.to_datetime(_ISO, time_unit="us", strict=False)
    return local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _instant(iso: pl.Expr, parts: pl.Expr, zone: str) -> pl.Expr:
    is_local = parts.struct.field("zone").is_null()
    at_zone = _at_zone(pl.when(is_local).then(iso), zone)
    at_offset = pl.when(~is_local).then(iso).str.to_datetime(f"{_ISO}%z", time_unit="us", strict=False)
    # Digits past the microsecond are cut off.
    micros = parts.struct.field("fraction").str.head(6).str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    return pl.coalesce(at_zone, at_offset) + pl.duration(microseconds=micros)
