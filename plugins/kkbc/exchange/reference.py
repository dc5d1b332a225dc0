"""Closed lists and rates that rules refer to, read from the dbt seeds so that Python and SQL judge by the same data."""

from functools import cache
from pathlib import Path

import polars as pl

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT

SEEDS = PROJECT_ROOT / "dbt_project" / "seeds"


@cache
def seed(name: str, folder: Path = SEEDS) -> pl.DataFrame:
    """The seed `name`, every column as text; empty cells are null. Raises UserError when it is missing."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise UserError(f"reference table {path} does not exist", "restore it from the repository")
    return pl.read_csv(path, infer_schema=False)


def codes(reference: str) -> frozenset[str]:
    """The values of one seed column, named `seed.column`, e.g. `occupations.code`. Raises UserError when unknown."""
    table, _, column = reference.partition(".")
    frame = seed(table)
    if column not in frame.columns:
        raise UserError(f"reference {reference!r} names no column of {table}", "fix the contract that names it")
    return frozenset(frame.get_column(column).drop_nulls().to_list())
