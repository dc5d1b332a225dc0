"""Cells of one column, read."""

from typing import Any

import polars as pl

from kkbc.exchange.contracts import Column, ExchangeType
from kkbc.intake.validation.parse import DTYPES, plain_columns, steps
from kkbc.intake.validation.tidy import tidy

ZONES = ("Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura")


def read(kind: ExchangeType, cells: list[str | None], zone: str = "Asia/Jakarta") -> list[Any]:
    """The cells of one column of that type, read; by the short way too where all are plain, with one outcome."""
    column = Column("c", "c", kind, False, False, None, "", "", ())
    texts = tidy(pl.DataFrame({"c": cells}, schema={"c": pl.String}), [column])
    values = _typed(texts, column, zone, plain=False)
    if is_plain(texts, column):
        assert _typed(texts, column, zone, plain=True) == values
    return values


def is_plain(texts: pl.DataFrame, column: Column) -> bool:
    """Whether the short way is taken."""
    return bool(plain_columns(texts, [column]))


def _typed(frame: pl.DataFrame, column: Column, zone: str, *, plain: bool) -> list[Any]:
    for step in steps(column, zone, plain=plain):
        frame = frame.with_columns(step)
    assert frame.schema["c"] == DTYPES[column.type]
    return frame["c"].to_list()
