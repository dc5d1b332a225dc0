"""Cells to values: the spellings of the branch exchange, then Hypothesis against a reading written twice."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kkbc.contracts import Column, ExchangeType, load_contract
from kkbc.validation import judge
from kkbc.validation.parse import DTYPES, steps
from tests.validation.rows import LAWFUL, batch, context

ZONES = ("Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura")


def read(kind: ExchangeType, cells: list[str | None], zone: str = "Asia/Jakarta") -> list[Any]:
    """The cells of one column of that type, read."""
    column = Column("c", "c", kind, False, False, None, "", "", ())
    frame = pl.DataFrame({"c": cells}, schema={"c": pl.String})
    for step in steps(column, zone):
        frame = frame.with_columns(step)
    assert frame.schema["c"] == DTYPES[kind]
    return frame["c"].to_list()


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


DECEMBER_11 = date(2023, 12, 11)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2023-12-11", DECEMBER_11),
        ("11/12/2023", DECEMBER_11),
        ("11-12-2023", DECEMBER_11),
        ("11.12.2023", DECEMBER_11),
        ("11 Des 2023", DECEMBER_11),
        ("11  DESEMBER\u00a02023", DECEMBER_11),
        (" '11/12/2023\t", DECEMBER_11),
        ("1/2/2023", date(2023, 2, 1)),
        ("2023-2-1", date(2023, 2, 1)),
        ("29/02/2024", date(2024, 2, 29)),
        ("29/02/2023", None),
        ("29.02.1900", None),
        ("31-04-2023", None),
        ("12/31/2023", None),  # day first, always
        ("00/01/2023", None),
        ("2023-00-01", None),
        ("11/12/23", None),
        ("11/12/02023", None),
        ("11/12-2023", None),
        ("2023/12/11", None),
        ("11 12 2023", None),
        ("11-Des-2023", None),
        ("11 Dec 2023", None),
        ("11Des2023", None),
        ("11 JanFeb 2023", None),
        ("11 Des 2023 x", None),
        ("+2023-12-11", None),
        ("-2023-12-11", None),
        ("٢٠٢٣-12-11", None),
        ("45271", None),
        ("2023-12-11 00:00", None),
        ("0001-01-01", date(1, 1, 1)),
        ("9999-12-31", date(9999, 12, 31)),
        ("0000-01-01", None),
    ],
)
def test_dates(cell: str, expected: date | None) -> None:
    assert read("date", [cell]) == [expected]


@pytest.mark.parametrize(
    ("month", "words"),
    enumerate(
        (
            "Jan Januari",
            "Feb Februari",
            "Mar Maret",
            "Apr April",
            "Mei",
            "Jun Juni",
            "Jul Juli",
            "Agu Agt Ags Agustus",
            "Sep Sept September",
            "Okt Oktober",
            "Nov Nop November",
            "Des Desember",
        ),
        start=1,
    ),
)
def test_rule_18_months_in_words(month: int, words: str) -> None:
    cells = [f"7 {spell} 2023" for word in words.split() for spell in (word, word.lower(), word.upper())]
    assert set(read("date", cells)) == {date(2023, month, 7)}
    assert set(read("timestamp", [f"{cell} 07:00" for cell in cells])) == {utc(2023, month, 7)}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2023-12-11T19:02", utc(2023, 12, 11, 12, 2)),
        ("2023-12-11 19:02:11", utc(2023, 12, 11, 12, 2, 11)),
        ("11/12/2023\u00a019:02:11.5", utc(2023, 12, 11, 12, 2, 11, 500_000)),
        ("11 Des 2023T19:02:11.1234567", utc(2023, 12, 11, 12, 2, 11, 123_456)),
        ("11 Des 2023 19:02:11.999999999999", utc(2023, 12, 11, 12, 2, 11, 999_999)),
        ("11.12.2023", utc(2023, 12, 10, 17)),
        ("2023-12-11T19:02Z", utc(2023, 12, 11, 19, 2)),
        ("2023-12-11T19:02:11+09:00", utc(2023, 12, 11, 10, 2, 11)),
        ("11-12-2023 19:02:11.5+0900", utc(2023, 12, 11, 10, 2, 11, 500_000)),
        ("2023-12-11T19:02-03:30", utc(2023, 12, 11, 22, 32)),
        ("2023-12-11T24:00", None),
        ("2023-12-11T23:60", None),
        ("2023-12-11T23:59:60", None),
        ("2023-12-11T9:00", None),
        ("2023-12-11T0900", None),
        ("2023-12-11t09:00", None),
        ("2023-12-11T09:00z", None),
        ("2023-12-11T09:00:00.", None),
        ("2023-12-11T09:00:00,5", None),
        ("2023-12-11T09:00 +07:00", None),
        ("2023-12-11T09:00+07", None),
        ("2023-12-11T09:00+24:00", None),
        ("2023-12-11T09:00+07:60", None),
        ("2023-12-11Z", None),
        ("2023-12-11T", None),
        ("2023-02-29T09:00", None),
        ("T09:00", None),
        ("0001-01-01 00:00Z", utc(1, 1, 1)),
        ("0001-01-01 00:00+00:01", None),
        ("9999-12-31 23:59:59.999999Z", utc(9999, 12, 31, 23, 59, 59, 999_999)),
        ("9999-12-31 23:59-00:01", None),
        ("0000-12-31 23:59-07:00", None),
    ],
)
def test_rule_15_timestamps(cell: str, expected: datetime | None) -> None:
    assert read("timestamp", [cell]) == [expected]


@pytest.mark.parametrize(("zone", "hour"), zip(ZONES, (12, 11, 10), strict=True))
def test_rule_15_local_times_are_those_of_the_branch(zone: str, hour: int) -> None:
    assert read("timestamp", ["2023-12-11 19:00"], zone) == [utc(2023, 12, 11, hour)]


AMOUNTS: list[tuple[str, int | None]] = [
    ("1500000", 1_500_000),
    ("1.500.000", 1_500_000),
    ("1,500,000", 1_500_000),
    ("1500000.0", 1_500_000),
    ("1500000,00", 1_500_000),
    ("1.500.000,00", 1_500_000),
    ("1,500,000.0", 1_500_000),
    ("1.500", 1_500),
    ("1,500", 1_500),
    ("0", 0),
    ("0.0", 0),
    ("000", 0),
    ("007", 7),
    ("-5", -5),
    ("-1.500,00", -1_500),
    ("9223372036854775807", 2**63 - 1),
    ("-9223372036854775808", -(2**63)),
    ("9223372036854775808", None),
    ("9" * 40, None),
    ("1.5", None),
    ("1,50", None),
    ("1500000.01", None),
    ("1500.5000", None),
    ("1.500.00", 1_500),
    ("1,500,0", 1_500),
    ("1,500.000", 1_500_000),
    ("1.500,000", 1_500_000),
    ("1.500,000.00", 1_500_000),
    ("1234.567", 1_234_567),
    ("12.34.567", None),
    ("1.500.5", None),
    ("1.00.500", None),
    ("1.5000", None),
    ("1..500", None),
    (".500", None),
    ("500.", None),
    (",0", None),
    ("1 500", None),
    ("+5", None),
    ("--5", None),
    ("- 5", None),
    ("5-", None),
    ("1E6", None),
    ("1.5E+06", None),
    ("0x10", None),
    ("١٥", None),
    ("lima", None),
]


@pytest.mark.parametrize(("cell", "expected"), AMOUNTS)
@pytest.mark.parametrize("kind", ["int", "idr"])
def test_rule_16_numbers(kind: ExchangeType, cell: str, expected: int | None) -> None:
    assert read(kind, [cell]) == [expected]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Rp1.500.000,00", 1_500_000),
        ("Rp 1.500.000", 1_500_000),
        ("RP\u00a01,500,000", 1_500_000),
        ("rp0", 0),
        ("-Rp 1.500", -1_500),
        ("Rp -1.500", -1_500),
        ("-Rp -1.500", None),
        ("Rp", None),
        ("Rp -", None),
        ("RpRp 5", None),
        ("5 Rp", None),
        ("IDR 5", None),
    ],
)
def test_amounts_in_rupiah(cell: str, expected: int | None) -> None:
    assert read("idr", [cell]) == [expected]
    assert read("int", [cell]) == [None]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2023-12", date(2023, 12, 1)),
        (" '2023-01", date(2023, 1, 1)),
        ("2023-13", None),
        ("2023-00", None),
        ("2023-1", None),
        ("12-2023", None),
        ("2023-12-01", None),
        ("0000-01", None),
    ],
)
def test_months(cell: str, expected: date | None) -> None:
    assert read("month", [cell]) == [expected]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("  Jl. Contoh 1\n RT 2; \t", "Jl. Contoh 1\n RT 2;"),
        ("\u00a0\u2007'  007 \u202f", "007"),
        ("''x", "'x"),
        ("O'Neil'", "O'Neil'"),
        ("NULLA", "NULLA"),
        ("- -", "- -"),
        ("n/a", None),
        ("", None),
        (None, None),
    ],
)
def test_text_is_trimmed(cell: str | None, expected: str | None) -> None:
    assert read("text", [cell]) == [expected]
    assert read("code", [cell]) == [expected.upper() if expected else None]


# The same, written a second time: with datetime and by hand.

WORDS = {
    **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "mei": 5, "jun": 6, "jul": 7, "agu": 8, "agt": 8, "ags": 8, "sep": 9},
    **{"sept": 9, "okt": 10, "nov": 11, "nop": 11, "des": 12, "januari": 1, "februari": 2, "maret": 3, "april": 4},
    **{"juni": 6, "juli": 7, "agustus": 8, "september": 9, "oktober": 10, "november": 11, "nopember": 11},
    **{"desember": 12},
}


def plain_text(cell: str) -> str | None:
    text = cell.strip().removeprefix("'").strip()
    return None if text.lower() in {"", "-", "null", "nan", "n/a"} else text


def plain_date(text: str) -> date | None:
    words = re.split(r"[ \u00a0\t]+", text)
    if len(words) == 3:
        numbers = [words[2], str(WORDS.get(words[1].lower(), 0)), words[0]]
    elif re.match(r"[0-9]{4}-", text):
        numbers = text.split("-")
    else:
        separator = next((sign for sign in "/-." if sign in text), "/")
        numbers = text.split(separator)[::-1]
    if len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers):
        return None
    if len(numbers[0]) != 4 or len(numbers[1]) > 2 or len(numbers[2]) > 2:
        return None
    try:
        return date(*map(int, numbers))
    except ValueError:
        return None


def plain_timestamp(text: str, zone: str) -> datetime | None:
    day = plain_date(text)
    if day is not None:
        return plain_instant(day, "00:00", zone)
    for position, sign in enumerate(text):
        head = text[:position] if sign == "T" else text[:position].rstrip(" \u00a0\t")
        if sign in "T \u00a0\t" and (day := plain_date(head)) is not None:
            return plain_instant(
                day, text[position + 1 :] if sign == "T" else text[position:].lstrip(" \u00a0\t"), zone
            )
    return None


def plain_instant(day: date, clock: str, zone: str) -> datetime | None:
    found = re.fullmatch(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|([+-])(\d\d):?(\d\d))?", clock, re.ASCII)
    if found is None:
        return None
    hour, minute, second, fraction, offset, sign, hours, minutes = found.groups()
    try:
        at = datetime(day.year, day.month, day.day, int(hour), int(minute), int(second or 0))
        at += timedelta(microseconds=int(f"{fraction or 0:0<6}"[:6]))
        if offset is None:
            return at.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        if int(minutes or 0) > 59:
            return None
        ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
        return at.replace(tzinfo=timezone(ahead)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def plain_number(text: str, rupiah: bool) -> int | None:
    sign = 1
    if text.startswith("-"):
        sign, text = -1, text[1:]
    if rupiah and text[:2].lower() == "rp":
        text = text[2:].lstrip(" \u00a0\t")
        if sign == 1 and text.startswith("-"):
            sign, text = -1, text[1:]
    groups, signs = re.split("[.,]", text), re.findall("[.,]", text)
    if not all(group.isascii() and group.isdigit() for group in groups):
        return None
    if signs and len(groups[-1]) in (1, 2) and int(groups.pop()) != 0:
        return None
    if any(len(group) != 3 for group in groups[1:]):
        return None
    number = sign * int("".join(groups))
    return number if -(2**63) <= number < 2**63 else None


# Hypothesis draws the pieces; every combination of them is read, for drawing is what takes time.


def some(*pieces: st.SearchStrategy[str] | str, most: int = 4) -> st.SearchStrategy[list[str]]:
    choices = [st.just(piece) if isinstance(piece, str) else piece for piece in pieces]
    return st.lists(st.one_of(choices), min_size=1, max_size=most, unique=True)


def number(low: int, high: int, width: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda value: f"{value:0{width}}")


def digits(low: int, high: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=low, max_size=high)


def every(*pieces: list[str]) -> list[str]:
    return ["".join(combination) for combination in product(*pieces)]


WORD = st.sampled_from([*WORDS, "December", "Mai"]).flatmap(
    lambda word: st.sampled_from([word, word.title(), word.upper()])
)
AROUND = some("", " ", "\t", "\u00a0", "'", " ' ", most=2)
DAY = some(number(1, 31, 1), number(0, 32, 2), digits(1, 3), most=3)
MONTH = some(number(1, 12, 1), number(0, 13, 2), WORD, most=3)
SEPARATOR = some("-", "/", ".", " ", "\u00a0 ", most=3)
YEAR = some(number(1970, 2100, 4), number(0, 9999, 4), digits(1, 5), most=3)
DATE = st.sampled_from(["2023-12-11", "1/2/2023", "29 Feb 2023", "29.02.2024", "0001-01-01", "9999-12-31"])
# The history of zones is another library's matter; local times lie in years in which they are what they are now.
MODERN = st.dates(date(1970, 1, 1), date(2100, 12, 31)).map(lambda day: f"{day:%d/%m/%Y}")
CLOCK = some(
    st.builds("{}{}:{}".format, st.sampled_from(["T", " ", "\u00a0\t", "t", ""]), number(0, 25, 2), number(0, 61, 2))
)
SECONDS = some("", ":", number(0, 61, 2).map(":{}".format), digits(0, 10).map(":59.{}".format), most=3)
OFFSET = some(
    *("Z", "z", "+07", " +07:00"),
    st.builds("{}{}{}{}".format, st.sampled_from("+-"), number(0, 25, 2), st.sampled_from([":", ""]), number(0, 61, 2)),
)


@settings(max_examples=120, deadline=None)
@given(AROUND, DAY, MONTH, SEPARATOR, SEPARATOR, YEAR)
def test_dates_as_by_hand(
    around: list[str], days: list[str], months: list[str], first: list[str], second: list[str], years: list[str]
) -> None:
    cells = every(around, days, first, months, second, years, around)
    cells += every(years, first, months, first, days)
    assert read("date", list(cells)) == [plain_date(text) if (text := plain_text(cell)) else None for cell in cells]


@settings(max_examples=120, deadline=None)
@given(some(MODERN, "1 Agt 2023", "31-04-2023"), some(DATE), CLOCK, SECONDS, OFFSET, st.sampled_from(ZONES))
def test_timestamps_as_by_hand(
    modern: list[str], dates: list[str], clocks: list[str], seconds: list[str], offsets: list[str], zone: str
) -> None:
    cells = [*modern, *every(modern, clocks, seconds), *every(modern + dates, clocks, seconds, offsets)]
    expected = [plain_timestamp(text, zone) if (text := plain_text(cell)) else None for cell in cells]
    assert read("timestamp", list(cells), zone) == expected


SIGN = some("", "-", "Rp", "Rp ", "rp\u00a0", "-Rp ", "Rp -", "+", most=3)
GROUP = some("", st.builds("{}{}".format, st.sampled_from(".,"), st.one_of(digits(3, 3), digits(1, 4))), most=3)
ENDING = some("", ".0", ",00", ".00", ",5", ".")


@settings(max_examples=120, deadline=None)
@given(SIGN, some(digits(1, 4), digits(18, 30), most=3), GROUP, GROUP, ENDING, some(st.text("019.,-Rp ", max_size=9)))
def test_numbers_as_by_hand(
    signs: list[str], heads: list[str], first: list[str], second: list[str], endings: list[str], others: list[str]
) -> None:
    cells = every(signs, heads, first, second, second, endings) + others
    texts = [plain_text(cell) for cell in cells]
    for kind, rupiah in (("int", False), ("idr", True)):
        assert read(kind, list(cells)) == [plain_number(text, rupiah) if text else None for text in texts]


NASTY = (
    *("", "-", "'", "nan", "0", "-1", str(2**63), "9" * 50, "1E+400", "31/02/2023", "9999-12-31T23:59-23:59"),
    *("0" * 16, "0000-00-00", "\x00", "\ufeff", "\n", "KC044", "8" * 16, "3172064003959001", "Rp", "(((", "${day}"),
    *("%Y", "İ", "ß" * 5, "2023-12-11T10:00", "1.500"),
)
CELL = st.one_of(st.none(), st.sampled_from(NASTY), st.text(max_size=20))


@pytest.mark.parametrize("feed", list(LAWFUL))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_row_ends_in_one_place_whatever_it_holds(feed: str, data: st.DataObject) -> None:
    contract = load_contract(feed)
    columns = data.draw(st.lists(st.sampled_from(list(LAWFUL[feed])), max_size=6, unique=True))
    cells = data.draw(st.lists(CELL, max_size=6))
    rows = [LAWFUL[feed], *(LAWFUL[feed] | {column: cell} for column in columns for cell in cells)]
    rows += [LAWFUL[feed] | dict.fromkeys(columns, cell) for cell in cells]
    misshapen = data.draw(st.integers(0, 9))
    shapes = [index % 10 != misshapen for index in range(len(rows))]
    result = judge(batch(feed, rows, shapes), contract, context(feed, data.draw(st.sampled_from(ZONES))))
    accepted, quarantined = result.accepted, result.quarantined
    assert sorted([*accepted["_line"], *quarantined["_line"]]) == list(range(2, len(rows) + 2))
    assert accepted["_raw"].to_list() == [f"raw {line}" for line in accepted["_line"]]
    assert quarantined["_raw"].to_list() == [f"raw {line}" for line in quarantined["_line"]]
    assert all(quarantined["_errors"].list.len() > 0)
    assert not any(accepted[column.name].has_nulls() for column in contract.columns if column.required)
    assert accepted.schema == pl.Schema(
        {"_line": pl.Int64(), "_raw": pl.String(), "_warnings": pl.List(pl.String())}
        | {column.name: DTYPES[column.type] for column in contract.columns}
    )
    codes = dict.fromkeys(("_errors", "_warnings", "_fields"), pl.List(pl.String()))
    assert quarantined.schema == pl.Schema({"_line": pl.Int64(), "_raw": pl.String()} | codes)
    assert result.nik_valid is None or accepted.height <= result.nik_valid <= sum(shapes)
