"""Cells to values: Hypothesis against a reading that is written a second time, plainly."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import product
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kkbc.exchange.contracts import load_contract
from kkbc.intake.validation import judge
from kkbc.intake.validation.parse import DTYPES
from tests.intake.validation.cells import ZONES, read
from tests.intake.validation.rows import VALID, batch, context

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
