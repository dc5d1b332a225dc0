"""Columns of the usual spellings are read by a short way, which comes to what the long one does."""

from datetime import date
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kkbc.exchange.contracts import Column, ExchangeType, load_contract
from kkbc.exchange.slices import Slice
from kkbc.intake.validation import Context, judge
from kkbc.intake.validation.parse import _PLAIN, plain_columns
from tests.intake.validation.cells import ZONES, read

DAYS = st.from_regex(r"\A(?:19|20)[0-9]{2}-(?:0[0-9]|1[0-3])-(?:[0-2][0-9]|3[0-2])\Z")
CELLS = {
    kind: st.from_regex(pattern, fullmatch=True, alphabet=st.characters(min_codepoint=32, max_codepoint=126))
    for kind, pattern in _PLAIN.items()
}


def plain(kind: ExchangeType, cells: list[str | None]) -> bool:
    column = Column("c", "c", kind, False, False, None, "", "", ())
    return bool(plain_columns(pl.DataFrame({"c": cells}, schema={"c": pl.String}), [column]))


@pytest.mark.parametrize("kind", list(_PLAIN))
@given(data=st.data())
def test_both_ways_come_to_the_same(kind: ExchangeType, data: st.DataObject) -> None:
    cells = data.draw(st.lists(st.one_of(CELLS[kind], st.none()), min_size=1, max_size=20))
    assert plain(kind, [None if cell is None else cell.strip() for cell in cells])
    read(kind, cells, data.draw(st.sampled_from(ZONES)))  # compares the two


@given(day=DAYS, hour=st.integers(0, 30), minute=st.integers(0, 65), second=st.one_of(st.none(), st.integers(0, 59)))
def test_days_and_times_that_do_not_exist_are_none_by_both(
    day: str, hour: int, minute: int, second: int | None
) -> None:
    clock = f"{hour:02}:{minute:02}" + ("" if second is None else f":{second:02}")
    for kind, cell in (("date", day), ("timestamp", f"{day} {clock}"), ("timestamp", f"{day}T{clock}")):
        assert plain(kind, [cell])  # type: ignore[arg-type]
        read(kind, [cell])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        *(
            ("date", cell)
            for cell in ("11/12/2023", "2023-1-2", "2100-01-01", "1899-01-01", "-", "NULL", "2023-12-11 10:00")
        ),
        *(
            ("timestamp", cell)
            for cell in ("2023-12-11", "2023-12-11 9:00", "2023-12-11 10:00Z", "2023-12-11 10:00:60")
        ),
        *(("int", cell) for cell in ("1.000", "+5", "1,0", "9" * 19, "\0")),
        *(("idr", cell) for cell in ("Rp5", "1.000", "5,00")),
    ],
)
def test_other_spellings_take_the_long_way(kind: ExchangeType, cell: str) -> None:
    assert not plain(kind, [cell])
    assert not plain(kind, ["2023-12-11" if kind == "date" else "", cell])


def test_a_row_is_judged_the_same_whatever_stands_beside_it() -> None:
    """One odd cell in a column sends the others of it the long way too."""
    contract = load_contract("iuran")
    context = Context(
        Slice("iuran", "KC001", date(2023, 12, 11), 1), ZoneInfo("Asia/Jakarta"), None, frozenset({"KC001"})
    )
    row = {
        "payment_id": "P-1",
        "branch_id": "KC001",
        "nik": "1171011203909001",
        "paid_at": "2023-12-11 10:00",
        "payment_channel": "BRI",
        "coverage_start": "2023-12-01",
        "months_covered": "1",
        "program_code": "JKK_JKM",
        "jkk_amount": "10000",
        "jkm_amount": "6800",
        "jht_amount": "0",
        "total_amount": "16800",
        "record_status": "BARU",
        "updated_at": "2023-12-11 10:00:05",
    }
    odd = row | {
        "payment_id": "P-2",
        "paid_at": "11 Des 2023 10.00 WIB",
        "coverage_start": "01/12/2023",
        "months_covered": "1,0",
        "jkk_amount": "Rp10.000",
        "total_amount": "16.800",
        "updated_at": "2023-12-11T10:00:05+07:00",
    }
    alone = judge(_batch(row), contract, context).accepted
    both = judge(_batch(row, odd), contract, context).accepted
    assert both.height == 2
    assert alone.rows() == both.head(1).rows()
    same = [name for name in alone.columns if name not in ("_line", "_raw", "payment_id")]
    assert both.select(same).row(0) == both.select(same).row(1)


def _batch(*rows: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"_line": 2 + place, "_raw": "", "_shape_ok": True, **row} for place, row in enumerate(rows)],
        schema_overrides={"_line": pl.Int64},
    )
