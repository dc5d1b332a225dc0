"""The marts travel: from Spark's Parquet into the hidden schema of the warehouse, month by month, by COPY.

Only months whose files are others than those brought last are read. What differs is exchanged row by row, so that a
publication hears of what changed and of nothing else. From there on everything is as for marts that PostgreSQL made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import LiteralString

import polars as pl
import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.marts.models import HIDDEN, published_models
from kkbc.slices.rows import copy_frame

BESIDES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "int_participants_restricted": (("participant_token",), None),
    "int_registrations_in_force": (("branch_id", "registration_no"), "business_date"),
    "int_contributions_uncounted": (("branch_id", "payment_id"), "business_date"),
}
"""Tables besides marts that the gate reads, with their keys and the day of a row."""

Files = dict[str, list[str]]
Brought = dict[str, Files]
"""By table and partition, the files that were brought; a table without partitions has the one named ''."""


def bring(conn: psycopg.Connection, warehouse: Path, before: Mapping[str, Files] | None) -> Brought:
    """Brings the hidden tables to what Spark's hold, all in one transaction; returns what was brought.

    `before` is what was brought last, None where all of it is to be compared. Raises UserError for a table that Spark
    does not have.
    """
    models = {model.name: model for model in published_models()}
    # dbt makes foreign keys between hidden tables: what is named comes first and goes last.
    named = {key.to for model in models.values() for key in model.foreign_keys}
    brought: Brought = {}
    with conn.transaction():
        differing = []
        for name in sorted((*models, *BESIDES), key=lambda name: (name not in named, name)):
            folder = warehouse / f"{HIDDEN}.db" / name
            brought[name] = found = _files(folder)
            months = _months(found, (before or {}).get(name))
            if months != []:
                model = models.get(name)
                key, day = (model.primary_key, model.day) if model else BESIDES[name]
                difference = _Difference(conn, name, key)
                difference.find(folder, found, months, day)
                differing.append(difference)
        for difference in differing:
            if difference.name not in named:
                difference.delete()
        for difference in differing:
            difference.update_and_insert()
        for difference in differing:
            if difference.name in named:
                difference.delete()
            difference.forget()
    return brought


def _files(folder: Path) -> Files:
    if not folder.is_dir():
        raise UserError(f"Spark has no table {folder.name}", f"is {folder.parent} where its workers write to?")
    found: Files = {}
    for path in sorted(folder.rglob("*.parquet")):
        partition = "" if path.parent == folder else path.parent.name.partition("=")[2]
        found.setdefault(partition, []).append(path.name)
    return found


def _months(found: Files, known: Files | None) -> list[str] | None:
    """The partitions that are others than those brought last; None for all of the table."""
    if known is None or "" in found or "" in known:
        return None
    return sorted(month for month in found.keys() | known.keys() if found.get(month) != known.get(month))


class _Difference:
    """What differs between a hidden table and Spark's, as temporary tables: rows that come, and keys that go."""

    def __init__(self, conn: psycopg.Connection, name: str, key: tuple[str, ...]) -> None:
        self.name = name
        self._conn = conn
        self._parts = {
            "table": sql.Identifier(HIDDEN, name),
            "brought": sql.Identifier("pg_temp", "brought"),
            "come": sql.Identifier("pg_temp", f"come_{name}"),
            "gone": sql.Identifier("pg_temp", f"gone_{name}"),
            "made_come": sql.Identifier(f"come_{name}"),
            "made_gone": sql.Identifier(f"gone_{name}"),
            "new": sql.Identifier("pg_temp", f"new_{name}"),
            "made_new": sql.Identifier(f"new_{name}"),
            "key": _listed("x", key),
            "same": _same("t", "x", key),
            "same_brought": _same("b", "x", key),
        }

    def find(self, folder: Path, found: Files, months: Sequence[str] | None, day: str | None) -> None:
        """Reads Spark's rows of those months (None: all rows) and compares them with the hidden table's."""
        self._do("create temporary table brought (like {table}) on commit drop")
        for month in found if months is None else [month for month in months if month in found]:
            for file in found[month]:
                place = folder / (f"_month={month}" if month else "") / file
                copy_frame(self._conn, ("pg_temp", "brought"), pl.read_parquet(place, hive_partitioning=False))
        of_months: sql.Composable = sql.SQL("true")
        if months is not None and day is not None:
            of_months = sql.SQL("coalesce(to_char({}, 'YYYY-MM'), 'none') = any({})").format(
                sql.Identifier(day), sql.Literal(list(months))
            )
        self._parts["of_months"] = of_months
        self._do("analyze {brought}")
        self._do(
            "create temporary table {made_come} on commit drop as"
            " table {brought} except all select * from {table} where {of_months}"
        )
        self._do(
            "create temporary table {made_gone} on commit drop as select {key} from {table} x where {of_months}"
            " and not exists (select from {brought} b where {same_brought})"
        )
        self._do("drop table {brought}")
        self._do("analyze {come}")

    def delete(self) -> None:
        """Takes out the rows whose keys Spark has no more."""
        self._do("delete from {table} t using {gone} x where {same}")

    def update_and_insert(self) -> None:
        """Brings in the rows that differ; one whose key stays is updated."""
        columns = [column.name for column in self._do("select * from {table} limit 0").description or []]
        self._parts |= {"columns": _listed(None, columns), "values": _listed("x", columns)}
        self._do("update {table} t set ({columns}) = row({values}) from {come} x where {same}")
        # Found before the first is inserted: an empty table is looked through for each row, which costs nothing as long
        # as it stays empty.
        self._do(
            "create temporary table {made_new} on commit drop as"
            " select * from {come} x where not exists (select from {table} t where {same})"
        )
        self._do("insert into {table} select * from {new}")

    def forget(self) -> None:
        """Drops the temporary tables."""
        self._do("drop table {come}, {gone}, {new}")

    def _do(self, statement: LiteralString) -> psycopg.Cursor:
        return self._conn.execute(sql.SQL(statement).format(**self._parts))


def _listed(relation: str | None, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(*filter(None, (relation, column))) for column in columns)


def _same(some: str, others: str, key: Sequence[str]) -> sql.Composed:
    pair = sql.SQL("{} = {}")
    return sql.SQL(" and ").join(pair.format(sql.Identifier(some, c), sql.Identifier(others, c)) for c in key)
