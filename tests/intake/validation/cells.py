"""Cells of one column, read."""

from typing import Any

import polars as pl

from kkbc.exchange.contracts import Column, ExchangeType
from kkbc.intake.validation.parse import DTYPES, steps
from kkbc.intake.validation.tidy import tidy

ZONES = ("Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura")


def read(kind: ExchangeType, cells: list[str | None], zone: str = "Asia/Jakarta") -> list[Any]:
    """The cells of one column of that type, read."""
    column = Column("c", "c", kind, False, False, None, "", "", ())
    frame = tidy(pl.DataFrame({"c": cells}, schema={"c": pl.String}), [column])
    for step in steps(column, zone):
        frame = frame.with_columns(step)
    assert frame.schema["c"] == DTYPES[kind]
    return frame["c"].to_list()
