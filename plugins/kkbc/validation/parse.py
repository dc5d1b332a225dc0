"""Text of a delivery to typed values, as Polars expressions (exchange, "What files look like"; Exchange rules 15-18).

Spellings that the exchange does not list are not guessed at: a quarantined row is mended by its branch, a misread one
is noticed by nobody.
"""

import polars as pl

from kkbc.contracts import Column, ExchangeType

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
MONTHS = (
    ("januari", "jan"),
    ("februari", "feb"),
    ("maret", "mar"),
    ("april", "apr"),
    ("mei",),
    ("juni", "jun"),
    ("juli", "jul"),
    ("agustus", "agu", "agt", "ags"),
    ("september", "sept", "sep"),
    ("oktober", "okt"),
    ("november", "nopember", "nov", "nop"),
    ("desember", "des"),
)
"""Spellings of the months, any case; where one begins with another the longer stands first."""

_NUMBER_OF = {spelling: str(number) for number, month in enumerate(MONTHS, start=1) for spelling in month}

_BLANK = r"[\p{Zs}\t]"
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"  # there is no year 0
_DATE = (
    rf"(?:(?P<iso>{_YEAR}-[0-9]{{1,2}}-[0-9]{{1,2}})"
    r"|(?P<day>[0-9]{1,2})"
    rf"(?P<month>/[0-9]{{1,2}}/|-[0-9]{{1,2}}-|\.[0-9]{{1,2}}\.|{_BLANK}+(?i:{'|'.join(_NUMBER_OF)}){_BLANK}+)"
    rf"(?P<year>{_YEAR}))"
)
# A second of 60 is refused here, for the parser takes it as a leap second.
_TIME = (
    rf"(?:(?:T|{_BLANK}+)(?P<clock>[0-9]{{2}}:[0-9]{{2}})(?:(?P<seconds>:[0-5][0-9])(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_ISO = "%Y-%m-%dT%H:%M:%S"  # with %.f the parser takes four times as long
_MONTH = rf"(?P<iso>{_YEAR}-[0-9]{{2}})"

# Dot and comma alike: before exactly three digits they group, before one or two final ones they are decimal (rule 16).
_DIGITS = r"[0-9]+(?:[.,][0-9]{3})*(?:[.,]0{1,2})?"
_RUPIAH = rf"(?i:rp){_BLANK}*"


def is_text(column: Column) -> bool:
    """Whether the trimmed text is the value, so that every text can be read."""
    is_plain = column.unreadable is None and column.max_length is None
    return column.type in ("text", "code") and is_plain


def text_of(column: Column) -> str:
    """Name of the column that holds the text of `column` as it is read: trimmed, null where missing."""
    return column.name if is_text(column) else f"text:{column.name}"


def steps(column: Column, zone: str) -> list[pl.Expr]:
    """From the cells of `column` to its typed values, null where they are missing or cannot be read.

    Each expression uses what the one before it left, under the column's name, as its text or its parts; `zone` is that
    of timestamps without an offset. In steps, because an expression that mentions another twice doubles it.
    """
    name, text_name, parts_name = column.name, text_of(column), f"parts:{column.name}"
    value, text, parts = pl.col(name), pl.col(text_name), pl.col(parts_name)
    pattern: str | None = None
    reading: list[pl.Expr]
    match column.type:
        case "text" | "code":
            refused = [text.str.contains(column.unreadable)] if column.unreadable else []
            refused += [text.str.len_chars() > column.max_length] if column.max_length else []
            reading = [pl.when(~pl.any_horizontal(refused)).then(text)] if refused else []
        case "int":
            reading = [_number(text, f"^-?{_DIGITS}$")]
        case "idr":
            reading = [_number(text, f"^(?:-?(?:{_RUPIAH})?|{_RUPIAH}-){_DIGITS}$")]
        case "month":
            first = pl.concat_str(parts.struct.field("iso"), pl.lit("-01"))
            pattern, reading = _MONTH, [first.str.to_date("%Y-%m-%d", strict=False)]
        case "date":
            pattern, reading = _DATE, [_iso_date(parts).str.to_date("%Y-%m-%d", strict=False)]
        case "timestamp":
            pattern, reading = _DATE + _TIME, [_iso_timestamp(parts), _instant(value, parts, zone), _in_calendar(value)]
    trimming = [_trimmed(value, column).alias(text_name), _present(text, column).alias(text_name)]
    splitting = [text.str.extract_groups(f"^{pattern}$").alias(parts_name)] if pattern else []
    typing = [step.alias(name) for step in reading]
    default = [_or_default(value, text, column).alias(name)] if column.default is not None else []
    return [*trimming, *splitting, *typing, *default]


def _trimmed(cell: pl.Expr, column: Column) -> pl.Expr:
    """Without blanks around it, no-break spaces and tabs too, and a leading Excel apostrophe; codes in upper case."""
    text = cell.str.strip_chars().str.strip_prefix("'").str.strip_chars()
    return text.str.to_uppercase() if column.type == "code" else text


def _present(text: pl.Expr, column: Column) -> pl.Expr:
    tokens = "|".join(token for token in MISSING if token not in column.lawful)
    return pl.when(~text.str.contains(f"(?i)^(?:{tokens})?$")).then(text)


def _or_default(value: pl.Expr, text: pl.Expr, column: Column) -> pl.Expr:
    # Where the text is missing; a value that cannot be read stays unknown.
    return pl.when(text.is_null()).then(pl.lit(column.default, DTYPES[column.type])).otherwise(value)


def _number(text: pl.Expr, pattern: str) -> pl.Expr:
    digits = text.str.replace(r"[.,]0{1,2}$", "").str.replace_all(r"[^0-9-]+", "")
    return pl.when(text.str.contains(pattern)).then(digits).cast(pl.Int64, strict=False)


def _iso_date(parts: pl.Expr) -> pl.Expr:
    """The date as year-month-day, whether or not there is such a day; null where the spelling is unknown."""
    field = parts.struct.field
    month = (
        field("month").str.extract(r"(\w+)").str.replace_many(_NUMBER_OF, ascii_case_insensitive=True, leftmost=True)
    )
    return pl.coalesce(field("iso"), pl.concat_str(field("year"), month, field("day"), separator="-"))


def _iso_timestamp(parts: pl.Expr) -> pl.Expr:
    """The same with the time to the second, 00:00 where none was written, and the offset from UTC, if one was."""
    field = parts.struct.field
    zone = field("zone").str.replace("Z", "+00:00", literal=True).fill_null("")
    clock, seconds = field("clock").fill_null("00:00"), field("seconds").fill_null(":00")
    return pl.concat_str(_iso_date(parts), pl.lit("T"), clock, seconds, zone)


def _instant(iso: pl.Expr, parts: pl.Expr, zone: str) -> pl.Expr:
    is_local = parts.struct.field("zone").is_null()
    local = pl.when(is_local).then(iso).str.to_datetime(_ISO, time_unit="us", strict=False)
    at_zone = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    at_offset = pl.when(~is_local).then(iso).str.to_datetime(f"{_ISO}%z", time_unit="us", strict=False)
    # Digits past the microsecond are cut off.
    micros = parts.struct.field("fraction").str.head(6).str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    return pl.coalesce(at_zone, at_offset) + pl.duration(microseconds=micros)


def _in_calendar(instant: pl.Expr) -> pl.Expr:
    # An offset may move the first or the last day of the calendar out of it.
    return pl.when(instant.dt.year().is_between(1, 9999)).then(instant)
