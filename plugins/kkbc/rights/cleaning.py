"""Cleaning: bytes of persons go where deleting a row or a file's name does not take them away.

PostgreSQL leaves a deleted row in its page until the space is used again, in indexes, in the log ahead of the tables
(WAL), and values of columns in the planner's statistics. Tables are written anew, and the log goes on in a new segment.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.core.needles import Needles
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.exchange.slices import Slice
from kkbc.publishing.cutting import columns_of_tokens
from kkbc.publishing.work import Work
from kkbc.rights.searching import holding
from kkbc.slices.erasing import TABLES_OF_PERSONS

# Parts of the home whose files are made by the platform and made again when they are missing.
_MADE = ("airflow/logs", "dbt", "docs", "exports", "gx", "lineage", "run", "subject-reports")
_PAUSE = 0.5
# Tables besides those of slices, and of what is built and published, from which tokens of persons were taken.
_OTHERS = (
    *(f"vault.{table}" for table in TABLES_OF_PERSONS),
    *("vault.person", "vault.new_token", "bi_kept.changed_key"),
)


def touched_partitions(conn: psycopg.Connection, tokens: Sequence[str], slices: Iterable[Slice]) -> list[str]:
    """The partitions of raw and vault that hold rows of the persons, or held those of slices in which they stood."""
    months = {(slice_.feed, slice_.business_date.replace(day=1)) for slice_ in slices}
    found: set[str] = set()
    for contract in map(load_contract, feeds()):
        for schema in ("raw", "vault") if contract.has_persons else ("raw",):
            table = sql.Identifier(schema, contract.table)
            if contract.has_nik:
                query = sql.SQL("select distinct tableoid::regclass::text from {} where participant_token = any(%s)")
                found |= {name for (name,) in conn.execute(query.format(table), [list(tokens)]).fetchall()}
            for feed, month in months:
                if feed == contract.feed:
                    found |= set(_partition_of(conn, table.as_string(conn), month.isoformat()))
    return sorted(found)


def _partition_of(conn: psycopg.Connection, table: str, day: str) -> list[str]:
    """The partition of a table for a day, by its name: of a month, or that of all before the first one."""
    rows = conn.execute(
        "select relid::regclass::text from pg_partition_tree(to_regclass(%(table)s)) where isleaf"
        ' and (relid::regclass::text ~ to_char(%(day)s::date, \'"_"YYYY"_"MM"$"\')'
        " or (%(day)s::date < date '2014-01-01' and relid::regclass::text ~ '_before_2014$'))",
        {"table": table, "day": day},
    ).fetchall()
    return [name for (name,) in rows]


def rewrite_tables(
    conn: psycopg.Connection, partitions: Sequence[str], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Writes these tables and all that hold tokens anew, and has the log go on behind; returns what was done.

    `conn` acts as the owner, in autocommit mode. Readers of a table wait while it is written. Raises UserError for a
    session that still sees what was there before, and does not end.
    """
    _wait_for_older(conn)
    with_tokens = dict.fromkeys((schema, table) for schema, table, _ in columns_of_tokens(Work(conn)))
    others = [sql.Identifier(*table).as_string(conn) for table in with_tokens]
    tables = [*partitions, *others, *_OTHERS]
    written = []
    for number, table in enumerate(tables):
        progress(number, len(tables) + 1)
        try:
            conn.execute(sql.SQL("vacuum (full, analyze) {}").format(sql.SQL(table)))
        except psycopg.errors.UndefinedTable:  # dropped meanwhile
            continue
        written.append(table)
    _analyze_whole(conn)
    # The rows of statistics that were replaced just now, and those of before, which an older snapshot would still see.
    _wait_for_older(conn)
    conn.execute("vacuum (full) pg_catalog.pg_statistic")
    left = [] if _end_log(conn) else ["the log (WAL) of the server: an administrator must end its segments"]
    progress(len(tables) + 1, len(tables) + 1)
    return {"tables_written": len(written), "left_to_administrator": left}


def _analyze_whole(conn: psycopg.Connection) -> None:
    """Statistics of the tables of slices as wholes, which come of no partition and are kept until the next ANALYZE."""
    only = sql.SQL("only " if conn.info.server_version >= 180000 else "")
    for contract in map(load_contract, feeds()):
        for schema in ("raw", "vault") if contract.has_persons else ("raw",):
            if contract.has_nik:
                conn.execute(sql.SQL("analyze {}{}").format(only, sql.Identifier(schema, contract.table)))


def _end_log(conn: psycopg.Connection) -> bool:
    """Has the server write all it holds, go on in a new segment and remove those before; False where we may not.

    Raises UserError when it cannot.
    """
    try:
        conn.execute("checkpoint")
        conn.execute("select pg_switch_wal()")
        conn.execute("checkpoint")
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.errors.InternalError as error:
        raise UserError(
            "the server cannot write what it holds, see its log", "free disk space of the warehouse, then do it again"
        ) from error
    return True


def _wait_for_older(conn: psycopg.Connection) -> None:
    """Waits until no session can see a row that was deleted before now: such a row would be written anew as well."""
    until = time.monotonic() + get_settings().lock_wait_minutes * 60
    row = conn.execute("select pg_current_xact_id()::xid::text").fetchone()
    assert row is not None
    while True:
        older = conn.execute(
            "select pid, application_name from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
            " and greatest(age(backend_xid), age(backend_xmin)) > age(%s::xid)",
            [row[0]],
        ).fetchall()
        if not older:
            return
        if time.monotonic() > until:
            pid, name = older[0]
            raise UserError(
                f"process {pid} ({name}) has a transaction from before the rows were deleted",
                f"let it end, or end it (select pg_terminate_backend({pid})); then ask for the erasure again",
            )
        time.sleep(_PAUSE)


def sweep_files(needles: Needles) -> int:
    """Removes files that the platform made and in which a value stands: logs, results, documents; returns how many."""
    home, count = get_settings().home, 0
    for part in _MADE:
        there = (Path(folder) / name for folder, _, names in os.walk(home / part) for name in names)
        for path, found in holding((p for p in there if p.is_file() and not p.is_symlink()), needles):
            if found:
                path.unlink(missing_ok=True)
                count += 1
    return count
