"""Cells to values: the spellings of the branch exchange."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from kkbc.exchange.contracts import ExchangeType, load_contract
from kkbc.intake.reading.numerals import amount
from kkbc.intake.validation.parse import WEEKDAYS
from tests.intake.validation.cells import ZONES, read


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
