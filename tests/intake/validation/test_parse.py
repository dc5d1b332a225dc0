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

from kkbc.exchange.contracts import Column, ExchangeType, load_contract
from kkbc.intake.reading.numerals import amount
from kkbc.intake.validation import judge
from kkbc.intake.validation.parse import DTYPES, WEEKDAYS, steps
from kkbc.intake.validation.tidy import tidy
from tests.intake.validation.rows import VALID, batch, context

ZONES = ("Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura")


def read(kind: ExchangeType, cells: list[str | None], zone: str = "Asia/Jakarta") -> list[Any]:
    """The cells of one column of that type, read."""
    column = Column("c", "c", kind, False, False, None, "", "", ())
    frame = tidy(pl.DataFrame({"c": cells}, schema={"c": pl.String}), [column])
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
        ("11\u2009Des\u3000\t2023", DECEMBER_11),
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
        ("11 12 2023", None),
        ("11Des2023", None),
        ("11 JanFeb 2023", None),
        ("11 Des 2023 x", None),
        ("+2023-12-11", None),
        ("-2023-12-11", None),
        ("٢٠٢٣-12-11", None),
        ("45271", None),
        ("2023-12-11 00:00", None),
    ],
)
def test_dates(cell: str, expected: date | None) -> None:
    assert read("date", [cell]) == [expected]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2023/12/11", DECEMBER_11),
        ("2023/2/1", date(2023, 2, 1)),
        ("20231211", DECEMBER_11),
        ("11-Des-2023", DECEMBER_11),
        ("11/DES/2023", DECEMBER_11),
        ("1-mei-2023", date(2023, 5, 1)),
        ("11 Dec 2023", DECEMBER_11),
        ("11-December-2023", DECEMBER_11),
        ("Senin, 11 Desember 2023", DECEMBER_11),
        ("senin 11 Des 2023", DECEMBER_11),
        ("SEN,11/12/2023", DECEMBER_11),
        ("Mon, 11 Dec 2023", DECEMBER_11),
        ("Monday,\u00a011-12-2023", DECEMBER_11),
        ("Jum'at, 1 Desember 2023", date(2023, 12, 1)),
        ("Minggu, 11 Desember 2023", DECEMBER_11),  # which was a Monday: the weekday is not looked at
        ("'20231211", DECEMBER_11),
        ("2023/12-11", None),
        ("2023.12.11", None),
        ("2023/Des/11", None),
        ("2023-Des-11", None),
        ("2023121", None),
        ("202312110", None),
        ("20230229", None),
        ("20231301", None),
        ("231211", None),
        ("11122023", None),
        ("11.Des.2023", None),
        ("11-Des/2023", None),
        ("11-12/2023", None),
        ("11Des 2023", None),
        ("11-Foo-2023", None),
        ("11-Des-23", None),
        ("11 Des 23", None),
        ("Dec 11, 2023", None),
        ("Desember 11 2023", None),
        ("12-25-2023", None),
        ("Des-11-2023", None),
        ("Monday, December 11, 2023", None),
        ("Senin11 Desember 2023", None),
        ("Hari, 11 Desember 2023", None),
        ("Senin, 2023-12-11", None),
        ("Senin,, 11 Desember 2023", None),
        ("Senin", None),
    ],
)
def test_rule_32_more_dates(cell: str, expected: date | None) -> None:
    assert read("date", [cell]) == [expected]
    noon = utc(expected.year, expected.month, expected.day, 5) if expected else None
    assert read("timestamp", [f"{cell} 12:00", f"{cell}T12.00"]) == [noon, noon]


@pytest.mark.parametrize("word", [name for names in WEEKDAYS for name in names])
def test_rule_32_weekdays(word: str) -> None:
    cells = [
        f"{spelt}{between}7 Agustus 2023" for spelt in (word, word.title(), word.upper()) for between in (", ", " ")
    ]
    assert set(read("date", cells)) == {date(2023, 8, 7)}


@pytest.mark.parametrize(
    ("spelling", "first", "last", "before", "after"),
    [
        ("date", "1900-01-01", "31/12/2100", "31 Des 1899", "1-1-2101"),
        ("date", "19000101", "2100/12/31", "18991231", "2101/01/01"),
        ("date", "1 Jan 1900", "31 Dec 2100", "0001-01-01", "9999-12-31"),
        ("date", "01.01.1900", "31.12.2100", "0203-05-01", "0000-01-01"),
        ("month", "1900-01", "2100-12", "1899-12", "2101-01"),
        ("timestamp", "1900-01-01 00:00", "2100-12-31 23:59:59.999", "1899-12-31 23:59:59", "2101-01-01 00:00"),
        # The day that is written counts, wherever the offset puts the instant.
        (
            "timestamp",
            "1900-01-01T00:00+14:00",
            "2100-12-31T23:59-12:00",
            "1899-12-31T23:59-12:00",
            "2101-01-01T00:00+14",
        ),
    ],
)
def test_rule_25_years(spelling: ExchangeType, first: str, last: str, before: str, after: str) -> None:
    valid, others = read(spelling, [first, last]), read(spelling, [before, after])
    assert None not in valid
    assert others == [None, None]


@pytest.mark.parametrize(
    ("month", "words"),
    enumerate(
        (
            "Jan Januari January",
            "Feb Februari February",
            "Mar Maret March",
            "Apr April",
            "Mei May",
            "Jun Juni June",
            "Jul Juli July",
            "Agu Agt Ags Agustus Aug August",
            "Sep Sept September",
            "Okt Oktober Oct October",
            "Nov Nop November Nopember",
            "Des Desember Dec December",
        ),
        start=1,
    ),
)
def test_rules_18_and_32_months_in_words(month: int, words: str) -> None:
    cells = [f"7 {spell} 2023" for word in words.split() for spell in (word, word.lower(), word.upper())]
    assert set(read("date", cells)) == {date(2023, month, 7)}
    assert set(read("timestamp", [f"{cell} 07:00" for cell in cells])) == {utc(2023, month, 7)}
    joined = [cell.replace(" ", sign) for cell in cells for sign in "-/"]
    assert set(read("date", joined)) == {date(2023, month, 7)}


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
        ("2023-12-11T0900", None),
        ("2023-12-11t09:00", None),
        ("2023-12-11T09:00z", None),
        ("2023-12-11T09:00:00.", None),
        ("2023-12-11T09:00:00,5", None),
        ("2023-12-11T09:00 +07:00", None),
        ("2023-12-11T09:00+24:00", None),
        ("2023-12-11T09:00+07:60", None),
        ("2023-12-11Z", None),
        ("2023-12-11T", None),
        ("2023-02-29T09:00", None),
        ("T09:00", None),
    ],
)
def test_rule_15_timestamps(cell: str, expected: datetime | None) -> None:
    assert read("timestamp", [cell]) == [expected]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("11/12/2023 9:05", utc(2023, 12, 11, 2, 5)),
        ("11/12/2023 9:05:07.25", utc(2023, 12, 11, 2, 5, 7, 250_000)),
        ("11/12/2023 09.05", utc(2023, 12, 11, 2, 5)),
        ("11/12/2023 9.05", utc(2023, 12, 11, 2, 5)),
        ("11.12.2023 09.05.07", utc(2023, 12, 11, 2, 5, 7)),
        ("2023-12-11 09:00:00+07", utc(2023, 12, 11, 2)),
        ("2023-12-11 09:00:00.5+09", utc(2023, 12, 11, 0, 0, 0, 500_000)),
        ("2023-12-11 09:00-03", utc(2023, 12, 11, 12)),
        ("11/12/2023 09:05 WIB", utc(2023, 12, 11, 2, 5)),
        ("11/12/2023 09.05 WITA", utc(2023, 12, 11, 1, 5)),
        ("11/12/2023 9:05 WIT", utc(2023, 12, 11, 0, 5)),
        ("Senin, 11 Desember 2023 09.05.07 wit", utc(2023, 12, 11, 0, 5, 7)),
        ("20231211T09:05WIB", utc(2023, 12, 11, 2, 5)),
        ("11/12/2023 09:05.07", None),
        ("11/12/2023 09.05:07", None),
        ("11/12/2023 9.5", None),
        ("11/12/2023 9:5", None),
        ("11/12/2023 25.00", None),
        ("11/12/2023 09.60", None),
        ("11/12/2023 009:05", None),
        ("11/12/2023 09", None),
        ("11/12/2023 09:05 AM", None),
        ("11/12/2023 09:05 WIBA", None),
        ("11/12/2023 09:05 GMT", None),
        ("11/12/2023 09:05 +07", None),
        ("11/12/2023 09:05+7", None),
        ("11/12/2023 09:05+070", None),
        ("11/12/2023 WIB", None),
        ("11/12/23 09:05", None),
        ("12/25/2023 09:00", None),
    ],
)
def test_rule_32_more_times(cell: str, expected: datetime | None) -> None:
    assert read("timestamp", [cell], "Asia/Jakarta") == [expected]
    has_zone = re.search(r"(?i)[+-]\d\d$|wi[bt]a?$", cell)
    behind = timedelta(hours=0 if has_zone else 2)
    assert read("timestamp", [cell], "Asia/Jayapura") == [expected and expected - behind]


@pytest.mark.parametrize(("zone", "hour"), zip(ZONES, (12, 11, 10), strict=True))
def test_rule_15_local_times_are_those_of_the_branch(zone: str, hour: int) -> None:
    assert read("timestamp", ["2023-12-11 19:00"], zone) == [utc(2023, 12, 11, hour)]


AMOUNTS: list[tuple[str, int | None]] = [
    # no sign
    ("1500000", 1_500_000),
    ("0", 0),
    ("000", 0),
    ("007", 7),
    ("-5", -5),
    ("-0", 0),
    # one sign groups: one to three digits, then three each
    ("1.500", 1_500),
    ("1,500", 1_500),
    ("0.000", 0),
    ("1.000", 1_000),
    ("10,000", 10_000),
    ("100.000", 100_000),
    ("001.500", 1_500),
    ("1.500.000", 1_500_000),
    ("1,500,000", 1_500_000),
    ("-1.500", -1_500),
    # any other is decimal, and only zeros follow it
    ("0.0", 0),
    ("1.0", 1),
    ("1,00", 1),
    ("1.0000", 1),
    ("1500000.0", 1_500_000),
    ("1500000,00", 1_500_000),
    ("1500.000", 1_500),
    ("10000.000", 10_000),
    ("10000,000", 10_000),
    ("0000.000", 0),
    ("1500." + "0" * 40, 1_500),
    ("-1500.000", -1_500),
    # after the grouping signs and unlike them
    ("10,000.000", 10_000),
    ("10.000,000", 10_000),
    ("1.500.000,00", 1_500_000),
    ("1,500,000.0", 1_500_000),
    ("1,500.000", 1_500),
    ("1.500,000", 1_500),
    ("1.500.000,000", 1_500_000),
    ("-1.500,00", -1_500),
    # more than zeros behind a decimal sign
    ("1.5", None),
    ("1.50", None),
    ("1.5000", None),
    ("1,50", None),
    ("1500000.01", None),
    ("1500.5000", None),
    ("1500.123", None),
    ("1234.567", None),
    ("1.234,567", None),
    ("1,000.5", None),
    ("1.500,001", None),
    # two decimal signs, or one like the grouping signs, or before them
    ("1.500.00", None),
    ("1.500.5", None),
    ("1,500,0", None),
    ("1.50.000", None),
    ("1.00.500", None),
    ("1.500,000.00", None),
    ("1,500.000,000", None),
    ("1500.000.000", None),
    ("1500,00.000", None),
    ("12.34.567", None),
    # no digits next to a sign
    ("1..500", None),
    ("1.,500", None),
    (".500", None),
    (".5", None),
    (",0", None),
    ("500.", None),
    ("1.", None),
    ("1.500.", None),
    ("1.500,", None),
    # beyond 10^12
    ("1000000000000", 10**12),
    ("1.000.000.000.000,00", 10**12),
    ("-1000000000000", -(10**12)),
    ("1000000000001", None),
    ("-1,000,000,000,001", None),
    ("9223372036854775807", None),
    ("-9223372036854775808", None),
    ("9223372036854775808", None),
    ("9" * 40, None),
    ("0" * 40 + "7", 7),
    ("0" * 4_001, None),
    # no number of these
    ("1 500", None),
    ("1\u00a0500", None),
    ("1'500", None),
    ("+5", None),
    ("--5", None),
    ("- 5", None),
    ("5-", None),
    ("1E6", None),
    ("1.5E+06", None),
    ("1e9999", None),
    ("1e9999999999999999999", None),
    ("Infinity", None),
    ("0x10", None),
    ("\u0661\u0665", None),
    ("\uff11\uff15", None),
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
        ("Rp 10000.000", 10_000),
        ("Rp1.5", None),
        ("Rp.1.500", None),
        ("Rp 1.000.000.000.001", None),
    ],
)
def test_amounts_in_rupiah(cell: str, expected: int | None) -> None:
    assert read("idr", [cell]) == [expected]
    assert read("int", [cell]) == [None]


@pytest.mark.parametrize("column", ["jkk_amount", "months_covered"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1.5", None),
        ("1500.123", None),
        ("0.001", None),
        ("1500.0", 1_500),
        ("1500.000", 1_500),
        ("1.000", 1),
        ("1e3", 1_000),
        ("-1.5E1", -15),
        ("1e12", 10**12),
        ("1e13", None),
        ("1e9999", None),
    ],
)
def test_rule_16_a_number_that_came_as_one_is_never_grouped(column: str, number: str, expected: int | None) -> None:
    assert read(load_contract("iuran").column(column).type, [amount(number)]) == [expected]


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
    **{"desember": 12, "january": 1, "february": 2, "march": 3, "may": 5, "june": 6, "july": 7, "august": 8, "aug": 8},
    **{"october": 10, "oct": 10, "december": 12, "dec": 12},
}
DAYS_OF_WEEK = re.compile(
    r"(?i)senin|selasa|rabu|kamis|jumat|jum'at|sabtu|minggu|ahad|sen|sel|rab|kam|jum|sab|min"
    r"|(mon|tues|wednes|thurs|fri|satur|sun)day|mon|tues?|wed|thu(rs?)?|fri|sat|sun"
)


def plain_text(cell: str) -> str | None:
    text = cell.strip().removeprefix("'").strip()
    return None if text.lower() in {"", "-", "null", "nan", "n/a"} else text


def plain_date(text: str) -> date | None:
    words = re.split(r"[ \u00a0\t]+", text)
    first, comma, rest = words[0].partition(",")
    if DAYS_OF_WEEK.fullmatch(first) and (comma or len(words) > 1):
        words = [rest, *words[1:]] if rest else words[1:]
        if not words or re.match(r"[0-9]{4}", words[0]):
            return None
    if len(words) == 3:
        numbers = [words[2], str(WORDS.get(words[1].lower(), 0)), words[0]]
    elif len(words) != 1:
        return None
    elif re.fullmatch(r"[0-9]{8}", words[0]):
        numbers = [words[0][:4], words[0][4:6], words[0][6:]]
    elif found := re.fullmatch(r"([0-9]{4})([/-])([0-9]+)\2([0-9]+)", words[0]):
        numbers = [found[1], found[3], found[4]]
    elif found := re.fullmatch(r"([0-9]+)([/.-])([0-9]+)\2([0-9]+)", words[0]):
        numbers = [found[4], found[3], found[1]]
    elif found := re.fullmatch(r"([0-9]+)([/-])([a-zA-Z]+)\2([0-9]+)", words[0]):
        numbers = [found[4], str(WORDS.get(found[3].lower(), 0)), found[1]]
    else:
        return None
    if not all(n.isascii() and n.isdigit() for n in numbers):
        return None
    if len(numbers[0]) != 4 or len(numbers[1]) > 2 or len(numbers[2]) > 2:
        return None
    try:
        day = date(*map(int, numbers))
    except ValueError:
        return None
    return day if date(1900, 1, 1) <= day <= date(2100, 12, 31) else None


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
    for name, hours_ahead in (("WIB", "+07:00"), ("WITA", "+08:00"), ("WIT", "+09:00"), ("Z", "+00:00")):
        before = clock[: -len(name)]
        if clock.endswith(name) or (name != "Z" and clock.upper().endswith(name)):
            clock = (before if name == "Z" else before.rstrip(" \u00a0\t")) + hours_ahead
            break
    time, offset = re.match(r"(.*?)([+-].*)?$", clock, re.ASCII | re.DOTALL).groups()  # type: ignore[union-attr]
    parts = re.fullmatch(r"(\d\d?)(?::(\d\d)(?::(\d\d)(?:\.(\d+))?)?|\.(\d\d)(?:\.(\d\d))?)", time, re.ASCII)
    zoned = re.fullmatch(r"([+-])(\d\d)(?::?(\d\d))?", offset, re.ASCII) if offset else None
    if parts is None or (offset and zoned is None):
        return None
    minute, second = parts[2] or parts[5], parts[3] or parts[6] or "0"
    try:
        at = datetime(day.year, day.month, day.day, int(parts[1]), int(minute), int(second))
        at += timedelta(microseconds=int(f"{parts[4] or 0:0<6}"[:6]))
        if zoned is None:
            return at.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        if int(zoned[3] or 0) > 59:
            return None
        ahead = timedelta(hours=int(zoned[2]), minutes=int(zoned[3] or 0)) * (-1 if zoned[1] == "-" else 1)
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

    def grouping(groups: list[str], signs: list[str]) -> bool:
        return len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:]) and len(set(signs)) == 1

    if signs and not grouping(groups, signs):
        decimals, decimal_sign = groups.pop(), signs.pop()
        if set(decimals) != {"0"} or (signs and (decimal_sign in signs or not grouping(groups, signs))):
            return None
    number = sign * int("".join(groups))
    return number if abs(number) <= 10**12 else None


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


WORD = st.sampled_from([*WORDS, "Dezember", "Mai"]).flatmap(
    lambda word: st.sampled_from([word, word.title(), word.upper()])
)
AROUND = some("", " ", "\t", "\u00a0", "'", " ' ", most=2)
DAY = some(number(1, 31, 1), number(0, 32, 2), digits(1, 3), most=3)
MONTH = some(number(1, 12, 1), number(0, 13, 2), WORD, most=3)
SEPARATOR = some("-", "/", ".", " ", "\u00a0 ", "", most=3)
BEFORE = some("", "", "Senin, ", "Sunday ", "jum'at,", "Sen", "Monday,, ", most=2)
YEAR = some(number(1970, 2100, 4), number(0, 9999, 4), digits(1, 5), most=3)
DATE = st.sampled_from(
    [
        "2023-12-11",
        "1/2/2023",
        "29 Feb 2023",
        "29.02.2024",
        "20231211",
        "Senin, 11-Des-2023",
        "2100/12/31",
        "2101-01-01",
    ]
)
# The history of zones is another library's matter; local times lie in years in which they are what they are now.
MODERN = st.dates(date(1970, 1, 1), date(2100, 12, 31)).map(lambda day: f"{day:%d/%m/%Y}")
CLOCK = some(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["T", " ", "\u00a0\t", "t", ""]),
        st.one_of(number(0, 25, 2), number(0, 25, 1)),
        st.sampled_from(":."),
        number(0, 61, 2),
    )
)
SECONDS = some(
    *("", ":", number(0, 61, 2).map(":{}".format), number(0, 61, 2).map(".{}".format)),
    digits(0, 10).map(":59.{}".format),
    most=3,
)
OFFSET = some(
    *("Z", "z", "+07", " +07:00", "WIB", " wita", "\u00a0WIT", " WIBA"),
    st.builds("{}{}{}{}".format, st.sampled_from("+-"), number(0, 25, 2), st.sampled_from([":", ""]), number(0, 61, 2)),
)


@settings(max_examples=120, deadline=None)
@given(AROUND, BEFORE, DAY, MONTH, SEPARATOR, SEPARATOR, YEAR)
def test_dates_as_by_hand(
    around: list[str],
    before: list[str],
    days: list[str],
    months: list[str],
    first: list[str],
    second: list[str],
    years: list[str],
) -> None:
    cells = every(around, before, days, first, months, second, years, around)
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


@pytest.mark.parametrize("feed", list(VALID))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_row_ends_in_one_place_whatever_it_holds(feed: str, data: st.DataObject) -> None:
    contract = load_contract(feed)
    columns = data.draw(st.lists(st.sampled_from(list(VALID[feed])), max_size=6, unique=True))
    cells = data.draw(st.lists(CELL, max_size=6))
    rows = [VALID[feed], *(VALID[feed] | {column: cell} for column in columns for cell in cells)]
    rows += [VALID[feed] | dict.fromkeys(columns, cell) for cell in cells]
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
