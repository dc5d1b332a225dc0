"""What Spark builds from: rows of the slices that arrived, the records about them and reference data, as Parquet.

Delivered rows come once: Spark keeps those of every slice itself (the macro kept_by_slice), by month, and each build hands
it the slices that it has to look at. The rest is small and comes whole.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.core.files import PRIVATE_UMASK
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.marts.spark.reading import read
from kkbc.marts.state import DBT_PROJECT

RECORDS = ("branch", "feed", "restricted_participant", "slice", "quarantine")
"""The tables of ops that staging reads."""

Tables = dict[str, Path]


def export(conn: psycopg.Connection, variables: Mapping[str, Any], folder: Path) -> Tables:
    """Writes all of it below the empty `folder`; returns the folder of each table, by its name in Spark.

    Without the variable built_as_of all slices arrived. `conn` acts as role transformer, and loads wait meanwhile.
    """
    made: Tables = {}
    with conn.transaction():
        _write(made, folder, "raw.arrived", _arrived(conn, variables))
        for contract in map(load_contract, feeds()):
            _write_rows(conn, made, folder, contract.table, contract.feed)
    for name in RECORDS:
        _write(made, folder, f"ops.{name}", read(conn, sql.Identifier("ops", name)))
    for seed in sorted((DBT_PROJECT / "seeds").glob("*.csv")):
        _write(made, folder, f"next.{seed.stem}", read(conn, sql.Identifier("next", seed.stem)))
    return made


def _arrived(conn: psycopg.Connection, variables: Mapping[str, Any]) -> pl.DataFrame:
    """The slices that this build looks at, as int_slices_touched has them; all where everything is rebuilt."""
    conn.execute(
        "create temporary table arrived on commit drop as select distinct feed, branch_id, business_date from ops.slice"
        " where %(built)s::date is null or build_id is null or build_id = %(build)s or business_date > %(built)s",
        {"built": variables.get("built_as_of"), "build": variables.get("build_id")},
    )
    conn.execute("analyze arrived")
    return read(conn, sql.Identifier("pg_temp", "arrived"))


def _write_rows(conn: psycopg.Connection, made: Tables, folder: Path, table: str, feed: str) -> None:
    """The rows of the slices of a feed that arrived, a file for each month."""
    months = conn.execute(
        "select distinct date_trunc('month', business_date)::date from arrived where feed = %s order by 1", [feed]
    ).fetchall()
    name = f"raw.{table}"
    for (month,) in months or [(None,)]:
        where = sql.SQL(
            "join arrived as a on a.feed = {feed} and a.branch_id = t._branch_id"
            " and a.business_date = t._business_date"
            " where t._business_date >= {month} and t._business_date < {month}::date + interval '1 month'"
        ).format(feed=sql.Literal(feed), month=sql.Literal(month))
        _write(made, folder, name, read(conn, sql.Identifier("raw", table), where), month.isoformat() if month else "0")


def _write(made: Tables, folder: Path, table: str, frame: pl.DataFrame, part: str = "0") -> None:
    place = folder / table
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o777 & ~PRIVATE_UMASK)
        frame.write_parquet(place / f"part-{part}.parquet")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}", "free disk space there") from error
    made[table] = place
