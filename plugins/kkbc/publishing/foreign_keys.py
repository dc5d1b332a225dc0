"""Foreign keys of the published tables: those of tables that move are dropped before, and made again when all rows are
there, for on the way a table may be ahead of the one that it points to.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.marts.models import ForeignKey, PublishedModel
from kkbc.publishing.record import Table
from kkbc.publishing.swap import keep_readers_out
from kkbc.publishing.undo import SCHEMA
from kkbc.publishing.work import Work, columns_of, name, names
from kkbc.warehouse import connect


def drop_keys(moving: Collection[tuple[str, str]], models: Collection[PublishedModel] = ()) -> None:
    """Drops the foreign keys from and to tables that will be moved, and those that `models` no longer declare.

    In a transaction of its own, before the caller's has touched a table: to drop a key both of its tables are kept from
    readers, and that only for a moment. Should the publication fail, the next one makes them again.
    """
    with connect("publisher") as conn:
        work = Work(conn)
        found = work.rows(
            "select n.nspname::text, t.relname::text, m.nspname::text, r.relname::text, c.conname::text"
            " from pg_constraint c join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace"
            " join pg_class r on r.oid = c.confrelid join pg_namespace m on m.oid = r.relnamespace"
            " where c.contype = 'f' and n.nspname in ('bi', 'bi_detail') order by 1, 2, 5"
        )
        declared = {(model.schema, model.name): {key.name for key in model.foreign_keys} for model in models}
        loose = [
            ((schema, table), (to_schema, to), key)
            for schema, table, to_schema, to, key in found
            if (schema, table) in moving or (to_schema, to) in moving or key not in declared.get((schema, table), {key})
        ]
        keep_readers_out(work, {table: None for here, there, _ in loose for table in (here, there)})
        for here, _, key in loose:
            work.do("alter table {table} drop constraint {key}", table=name(*here), key=sql.Identifier(key))


def check(work: Work, remedy: str) -> None:
    """Checks the foreign keys that are there, for the rows that changed.

    Raises UserError, with this remedy, when rows name rows that are not there.
    """
    with _as_user_errors(remedy):
        work.do("set constraints all immediate")


def make_missing(
    work: Work, models: Collection[PublishedModel], remedy: str, aside: Mapping[Table, str] = MappingProxyType({})
) -> None:
    """Makes the declared foreign keys that are not there, each of which is checked by one join.

    aside: names in `bi_kept` of tables that will be put in place: keys from and to them go with them, so that no reader
    waits for the join. A key that the tables have not the columns for is left out: a rolled back table may be of a
    time before it. Raises UserError, with this remedy, when rows name rows that are not there.
    """
    there = set(
        work.rows(
            "select n.nspname::text, t.relname::text, c.conname::text from pg_constraint c"
            " join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace where c.contype = 'f'"
        )
    )
    for model in models:
        for key in model.foreign_keys:
            table, to = (
                (SCHEMA, aside[found]) if found in aside else found
                for found in ((model.schema, model.name), (model.schema, key.to))
            )
            if (*table, key.name) in there or not (work.dry or _possible(work, key, table, to)):
                continue
            with _as_user_errors(remedy, model.table):
                _make(work, key, table, to)


@contextmanager
def _as_user_errors(remedy: str, table: str | None = None) -> Iterator[None]:
    """table: the one with the rows, where it lies under another name."""
    try:
        yield
    except psycopg.errors.ForeignKeyViolation as error:
        # Its detail would name the row.
        found = error.diag
        table = table or f"{found.schema_name}.{found.table_name}"
        raise UserError(f"{table} names rows that are not there: {found.constraint_name}", remedy) from None


def _make(work: Work, key: ForeignKey, table: Table, to: Table) -> None:
    work.do(
        "alter table {table} add constraint {key} foreign key ({columns}) references {to} ({to_columns})"
        " deferrable initially deferred",
        table=name(*table),
        key=sql.Identifier(key.name),
        columns=names(key.columns),
        to=name(*to),
        to_columns=names(key.to_columns),
    )


def _possible(work: Work, key: ForeignKey, table: Table, to: Table) -> bool:
    here, there = (set(columns_of(work, name(*place))) for place in (table, to))
    return set(key.columns) <= here and set(key.to_columns) <= there
