"""Masking what is stored: rows that were loaded before codes and names of files were masked get their marks, once."""

from typing import Any, cast

import polars as pl
import psycopg
from psycopg import sql

from kkbc.exchange import masking
from kkbc.exchange.contracts import Contract, feeds, load_contract
from kkbc.warehouse.connection import connect

DONE = "marked"


def mask_stored() -> int:
    """Marks what raw and ops hold from before, in one transaction; returns how many different texts were replaced.

    Done once an installation. Needs the owner's login. Raises UserError when something is to be marked and the key of
    the tokens cannot be had.
    """
    with connect() as conn:
        conn.execute("lock table ops.setting in share row exclusive mode")
        if conn.execute("select from ops.setting where name = %s", [DONE]).fetchone() is not None:
            return 0
        count = 0
        for feed in feeds():
            contract = load_contract(feed)
            for column in masking.marked_columns(contract):
                count += _replace(conn, ("raw", contract.table), column.name, contract)
            count += _replace(conn, ("raw", contract.table), "_file")
        count += _replace(conn, ("ops", "slice"), "file_name")
        conn.execute("insert into ops.setting (name, value) values (%s, %s)", [DONE, str(count)])
    return count


def _replace(conn: psycopg.Connection, table: tuple[str, str], column: str, contract: Contract | None = None) -> int:
    """Replaces the texts of a column, a code of `contract` or the name of a file; returns how many different ones."""
    place = {"table": sql.Identifier(*table), "column": sql.Identifier(column)}
    rows = conn.execute(
        sql.SQL("select distinct {column} from {table} where {column} is not null").format(**place)
    ).fetchall()
    texts = pl.Series(column, [cast("tuple[Any]", row)[0] for row in rows], dtype=pl.String)
    if contract is None:
        safe = pl.Series(column, [masking.shown_name(text) for text in texts], dtype=pl.String)
    else:
        safe = masking.Marker(contract)(texts.to_frame())[column]
    changed = pl.DataFrame({"old": texts, "new": safe}).filter(pl.col("old") != pl.col("new"))
    if changed.height:
        statement = sql.SQL(
            "update {table} set {column} = m.new from unnest(%s::text[], %s::text[]) as m(old, new)"
            " where {column} = m.old"
        ).format(**place)
        conn.execute(statement, [changed["old"].to_list(), changed["new"].to_list()])
    return changed.height
