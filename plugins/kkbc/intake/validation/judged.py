"""What comes of a batch of rows: each accepted or quarantined."""

from dataclasses import dataclass

import polars as pl

CODES = pl.List(pl.String)
"""The type of columns that hold codes."""


@dataclass(frozen=True)
class Judged:
    """The rows of a batch, each in one of two frames.

    accepted: `_line` Int64, `_raw` String, `_warnings` List[String] (distinct codes, sorted), then the columns of the
    contract in the types of `parse.DTYPES`. quarantined: `_line`, `_raw`, `_errors` and `_warnings` (distinct codes,
    sorted), `_fields` (List[String], `column:CODE` of every finding), by line. nik_valid: number of rows whose NIK
    earns no error (KPI rule 4), None for feeds without NIK. suppressed: NIKs on the suppression list that stand in
    rows of the batch.
    """

    accepted: pl.DataFrame
    quarantined: pl.DataFrame
    nik_valid: int | None
    suppressed: frozenset[str] = frozenset()
