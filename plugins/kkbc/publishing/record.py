"""What is on record of publications: which one is live, and what each table held after it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from kkbc.publishing.swap import Change, State
from kkbc.publishing.work import Work
from kkbc.warehouse import locks
from kkbc.warehouse.locks import Lock

Table = tuple[str, str]


@dataclass(frozen=True)
class Publication:
    """What a publication changed: rows deleted and inserted by table. restores: the publication it went back to."""

    publication_id: int
    tables: dict[str, dict[str, int]]
    restores: int | None = None


def alone(conn: psycopg.Connection) -> None:
    """Keeps other publications and builds away to the end of the transaction; rows become text in one way only.

    Raises Busy.
    """
    locks.take(conn, Lock.PUBLISH)
    conn.execute(
        "select set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true),"
        " set_config('intervalstyle', 'postgres', true), set_config('extra_float_digits', '1', true)"
    )


def live(work: Work) -> int | None:
    """The publication that readers see; None before the first one."""
    ((publication_id,),) = work.rows("select max(publication_id) from ops.publication")
    return None if publication_id is None else int(publication_id)


def states(work: Work, publication_id: int | None) -> dict[Table, State]:
    """What each table held after a publication; of one from before this was recorded, nothing."""
    rows = work.rows(
        "select table_schema, table_name, rows, digest from ops.publication_table where publication_id = %s",
        [publication_id],
    )
    return {(schema, table): State(int(count), int(digest)) for schema, table, count, digest in rows}


def record(
    work: Work,
    publication_id: int,
    changes: dict[Table, Change],
    before: int | None,
    pairs: Mapping[Table, str | None] = MappingProxyType({}),
) -> dict[str, dict[str, int]]:
    """Records what became of each table; returns the rows deleted and inserted by table.

    Stamps each table with the publication that last changed it: this one, or that of the publication `before`.
    pairs: of the tables that are now what the hidden ones are, see kkbc.publishing.changes.
    """
    with work.conn.cursor() as cursor:
        cursor.executemany(
            "insert into ops.publication_table"
            " (publication_id, table_schema, table_name, rows, deleted, inserted, digest, pair, changed_in)"
            " select %(id)s, %(schema)s, %(table)s, %(rows)s, %(deleted)s, %(inserted)s, %(digest)s, %(pair)s,"
            " case when %(changed)s then %(id)s else coalesce((select changed_in from ops.publication_table"
            " where publication_id = %(before)s and table_schema = %(schema)s and table_name = %(table)s), %(id)s) end",
            [
                {
                    "id": publication_id,
                    "schema": schema,
                    "table": table,
                    "rows": change.state.rows,
                    "digest": change.state.digest,
                    "pair": pairs.get((schema, table)),
                    **change.counts,
                    "changed": bool(change.deleted or change.inserted),
                    "before": before,
                }
                for (schema, table), change in changes.items()
            ],
        )
    tables = {f"{schema}.{table}": change.counts for (schema, table), change in changes.items()}
    work.conn.execute(
        sql.SQL("update ops.publication set tables = %s where publication_id = %s"), [Jsonb(tables), publication_id]
    )
    return tables
