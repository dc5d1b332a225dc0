"""What Spark builds from: rows of the slices that arrived, the records about them and reference data, as Parquet.

Delivered rows come once: Spark keeps those of every slice itself (the macro kept_by_slice), by month, and each build
hands it the slices that it has to look at. The rest is small and comes whole.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.core.files import PRIVATE_UMASK
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import Contract, feeds, load_contract
from kkbc.exchange.slices import Slice
from kkbc.intake.landing import Landing
from kkbc.marts.spark.reading import TYPES, columns_of, read
from kkbc.marts.state import DBT_PROJECT
from kkbc.slices.rows import as_loaded

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
            _write_rows(conn, made, folder, contract)
    for name in RECORDS:
        _write(made, folder, f"ops.{name}", read(conn, sql.Identifier("ops", name)))
    for seed in sorted((DBT_PROJECT / "seeds").glob("*.csv")):
        _write(made, folder, f"next.{seed.stem}", read(conn, sql.Identifier("next", seed.stem)))
    return made


def _arrived(conn: psycopg.Connection, variables: Mapping[str, Any]) -> pl.DataFrame:
    """The slices that this build looks at, as int_slices_touched has them; all where everything is rebuilt.

    Spark can know which slices these are only when their rows are there. tests/spark holds the two against one another.
    """
    conn.execute(
        "create temporary table arrived on commit drop as select distinct feed, branch_id, business_date from ops.slice"
        " where %(built)s::date is null or build_id is null or build_id = %(build)s or business_date > %(built)s",
        {"built": variables.get("built_as_of"), "build": variables.get("build_id")},
    )
    conn.execute("analyze arrived")
    return read(conn, sql.Identifier("pg_temp", "arrived"))


def _write_rows(conn: psycopg.Connection, made: Tables, folder: Path, contract: Contract) -> None:
    """The rows of the slices of a feed that arrived, a file for each month.

    They are read in landing, where the rows that were judged are kept. Those of a slice into which a retry brought
    more, or of which landing has not all any more, are in raw alone.
    """
    table = sql.Identifier("raw", contract.table)
    types = {name: TYPES[type_] for name, type_ in columns_of(conn, table).items()}
    frames: dict[date, list[pl.DataFrame]] = {}
    others = []
    for slice_, file, uri, load_id, count in _in_force(conn, contract.feed):
        rows = _landed(conn, contract, slice_, file, uri, load_id, types) if uri else None
        if rows is not None and rows.height == count:
            frames.setdefault(slice_.business_date.replace(day=1), []).append(rows)
        elif count:
            others.append((slice_.branch_id, slice_.business_date))
    conn.execute("create temporary table in_raw (branch_id text, business_date date) on commit drop")
    with conn.cursor() as cursor:
        cursor.executemany("insert into in_raw values (%s, %s)", others)
    for month in sorted({day.replace(day=1) for _, day in others}):
        where = sql.SQL(
            "join in_raw as a on a.branch_id = t._branch_id and a.business_date = t._business_date"
            " where t._business_date >= {month} and t._business_date < {month}::date + interval '1 month'"
        ).format(month=sql.Literal(month))
        frames.setdefault(month, []).append(read(conn, table, where))
    conn.execute("drop table in_raw")
    for month, parts in sorted(frames.items()) or [(date.min, [pl.DataFrame(schema=types)])]:
        _write(made, folder, f"raw.{contract.table}", pl.concat(parts), f"{month:%Y-%m}")


def _in_force(conn: psycopg.Connection, feed: str) -> Iterator[tuple[Slice, str | None, str | None, int, int]]:
    """Slices in force among those that arrived: file, folder in landing if all rows are of it, load, accepted rows."""
    rows = conn.execute(
        "select s.branch_id, s.business_date, s.revision, s.file_name,"
        " case when coalesce(cardinality(s.retry_load_ids), 0) = 0 then s.landed_uri end,"
        " coalesce(s.load_id, 0), s.rows_accepted"
        " from arrived a join ops.slice s using (feed, branch_id, business_date)"
        " where feed = %s and s.status = 'loaded' order by branch_id, business_date",
        [feed],
    ).fetchall()
    for branch_id, business_date, revision, *rest in rows:
        yield Slice(feed, branch_id, business_date, revision), *rest


def _landed(
    conn: psycopg.Connection,
    contract: Contract,
    slice_: Slice,
    file: str | None,
    uri: str,
    load_id: int,
    types: Mapping[str, pl.DataType],
) -> pl.DataFrame | None:
    """The rows of a slice as raw has them, from landing; None when there are none, or columns came since."""
    accepted = Landing(get_settings().landing).rows(uri, "accepted")
    try:
        made = [raw for _, raw in as_loaded(conn, contract, slice_, file, accepted, load_id)]
    except pl.exceptions.ColumnNotFoundError:
        return None
    if not made or types.keys() - set(made[0].columns):
        return None
    codes = pl.col("_warnings").str.strip_chars("{}").str.split(",")
    return pl.concat(made).with_columns(codes).select(pl.col(name).cast(type_) for name, type_ in types.items())


def _write(made: Tables, folder: Path, table: str, frame: pl.DataFrame, part: str = "0") -> None:
    place = folder / table
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o777 & ~PRIVATE_UMASK)
        frame.write_parquet(place / f"part-{part}.parquet")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}", "free disk space there") from error
    made[table] = place
