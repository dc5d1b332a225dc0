"""What the reports of one publication are made from: one snapshot of schema `bi`, read as the role that BI reads as.

A snapshot is the text of a CSV a table, so that it can be kept as it was read (kkbc.reporting.keeping) and a report of
a past night is made from the same bytes.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.reporting.tables import TABLES, WINDOWS
from kkbc.warehouse import connect

NOTHING = UserError("nothing is published in schema bi", "run a night first: `kkbc run` or `make run`")


@dataclass(frozen=True)
class Snapshot:
    """The tables of kkbc.reporting.tables as CSV, all of one publication."""

    texts: dict[str, bytes]

    @cached_property
    def frames(self) -> dict[str, pl.DataFrame]:
        """The tables, parsed."""
        return {name: _parse(name, text) for name, text in self.texts.items()}

    @cached_property
    def publication(self) -> dict[str, Any]:
        """Number, business date and time of the publication, and how many expectations audited it."""
        return self.frames["publication"].row(0, named=True)

    @property
    def as_of(self) -> date:
        """The latest business date of the publication."""
        day: date = self.publication["as_of"]
        return day

    @property
    def offices(self) -> dict[str, str]:
        """The regional offices that have branches: name by id, in the order of the ids."""
        named = self.frames["branches"].select("kanwil_id", "kanwil_name").drop_nulls().unique().sort("kanwil_id")
        return dict(named.iter_rows())


def read_published() -> Snapshot:
    """Reads what is live, in one snapshot. Raises UserError when nothing is published."""
    with connect("bi") as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        try:
            row = conn.execute("select as_of from bi.publication").fetchone()
            if row is None:
                raise NOTHING
            return Snapshot({name: _copy(conn, name, row[0]) for name in TABLES})
        except psycopg.errors.UndefinedTable as error:
            raise NOTHING from error


def _copy(conn: psycopg.Connection, name: str, as_of: date) -> bytes:
    """Rows in an order of their own, so that one publication gives the same bytes each time."""
    wanted = sql.SQL("select {columns} from ({query}) t order by {all}").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, TABLES[name].columns)),
        query=sql.SQL(TABLES[name].query).format(as_of=sql.Literal(as_of), **WINDOWS),
        all=sql.SQL(", ").join(sql.Literal(place + 1) for place in range(len(TABLES[name].columns))),
    )
    with conn.cursor().copy(sql.SQL("copy ({}) to stdout (format csv, header)").format(wanted)) as copy:
        return b"".join(bytes(block) for block in copy)


def _parse(name: str, text: bytes) -> pl.DataFrame:
    return pl.read_csv(text, schema=TABLES[name].columns, try_parse_dates=False)
