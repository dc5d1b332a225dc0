"""Locks that only the pipeline can reach: who may connect to the database, but not work in it, cannot take them.

Each of the few that are taken by name is an empty table of schema `locks`; those of a branch are rows of `locks.named`,
one for each branch and purpose. They last as long as a transaction, and so no longer than its connection. The order in
which several are taken: erasure, night, publish, build, visit of a branch; or visit, build (shared), slices of a
branch.

A table's lock takes no transaction number and keeps no snapshot, so that an hour of a build holds up no vacuum. A row's
takes a number, for the minutes of a visit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.warehouse.connection import Role, connect
from kkbc.warehouse.reuse import reused

# What would end the session of a holder that waits for its own work, and what tells the server that its client is gone.
_SESSION = {
    "synchronous_commit": "off",  # a lock changes nothing that a crash could take back
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
NAME_LENGTH = 63


class Lock(StrEnum):
    """The locks that there is one of."""

    NIGHT = "night"
    """Nights that run without Airflow build one after the other."""
    OPENING = "opening"
    """Builds are opened one after the other."""
    PUBLISH = "publish"
    """The hidden schemas and what readers see are changed by one at a time."""
    ERASURE = "erasure"
    """Persons are erased by one at a time."""
    BUILD = "build"
    """A layer that is built sees no load; loads share it."""


class Busy(UserError):
    """A lock was not free in time; the message names who holds it."""


def take(conn: psycopg.Connection, lock: Lock) -> None:
    """Takes a lock, waiting for it, to the end of the transaction of `conn`. Raises Busy."""
    _take(conn, _exclusive(lock), lock, None, _patience())


def take_if_free(conn: psycopg.Connection, lock: Lock) -> bool:
    """The same without waiting; says whether it was free."""
    # No block of psycopg's: the outermost of those would end the transaction, and the lock with it.
    conn.execute("savepoint before_lock")
    try:
        conn.execute(sql.SQL("{} nowait").format(_exclusive(lock)))
    except psycopg.errors.LockNotAvailable:
        conn.execute("rollback to savepoint before_lock")
        return False
    return True


def take_slices(conn: psycopg.Connection, branch_id: str) -> None:
    """Keeps builds, and other loads of the branch's slices, away to the end of the transaction of `conn`.

    Raises Busy for a build or a load that does not end.
    """
    name = f"slices {branch_id}"
    statement = sql.SQL("lock table locks.build in share mode; {}; {}").format(_named(name), _row(name))
    _take(conn, statement, Lock.BUILD, name, _patience())


@contextmanager
def locked(lock: Lock, what: str, *, role: Role | None, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Locks for the length of a block; `what` says in a few words what for.

    A connection of its own holds it, so that it goes with this process. `wait` is called when it is not free at once.
    Raises Busy, and UserError when the connection broke meanwhile, for others may have been at work then.
    """
    with _keeper(role, what) as conn:
        if not take_if_free(conn, lock):
            wait()
            take(conn, lock)
        yield
        try:
            conn.commit()
        except psycopg.OperationalError as error:
            raise UserError(f"the lock for {what} was lost meanwhile", "see to the server, then do it again") from error


@contextmanager
def locked_branch(branch_id: str, what: str, *, role: Role, seconds: float | None = None) -> Iterator[None]:
    """Keeps other visits and re-readings of a branch away for the length of a block.

    A connection that does nothing else meanwhile holds it. seconds: how long to wait for it, else as for all locks.
    Raises Busy. What is done to a slice has locks of its own, so that nothing is lost with the connection.
    """
    name = f"visit {branch_id}"
    with reused(role, set_up=_keep) as conn:
        # Committed, so that others see the row and who holds it.
        conn.execute(_named(name))
        conn.commit()
        conn.execute("select set_config('application_name', %s, true)", [f"kkbc {what}"[:NAME_LENGTH]])
        _take(conn, _row(name), None, name, _patience() if seconds is None else seconds)
        yield
        with suppress(psycopg.OperationalError):
            conn.commit()


def end_with_client(conn: psycopg.Connection) -> None:
    """Has the server look for the client of `conn` also while that waits, so that the session of a killed one ends."""
    with suppress(psycopg.errors.InvalidParameterValue), conn.transaction():  # of a server that cannot
        conn.execute("set client_connection_check_interval = '1s'")


def _patience() -> float:
    return get_settings().lock_wait_minutes * 60


def _exclusive(lock: Lock) -> sql.Composed:
    return sql.SQL("lock table {} in exclusive mode").format(sql.Identifier("locks", lock))


def _named(name: str) -> sql.Composed:
    return sql.SQL("insert into locks.named (name) values ({}) on conflict do nothing").format(name)


def _row(name: str) -> sql.Composed:
    return sql.SQL("select from locks.named where name = {} for update").format(name)


@contextmanager
def _keeper(role: Role | None, what: str) -> Iterator[psycopg.Connection]:
    """A connection whose transaction holds a lock, and whose name says what for."""
    with connect(role) as conn:
        _keep(conn)
        conn.execute("select set_config('application_name', %s, false)", [f"kkbc {what}"[:NAME_LENGTH]])
        conn.commit()
        yield conn


def _keep(conn: psycopg.Connection) -> None:
    """Lets the session of a connection last for as long as the lock that it is to hold."""
    conn.execute(
        "select set_config(name, %(to)s::jsonb ->> name, false) from pg_settings where %(to)s::jsonb ? name",
        {"to": psycopg.types.json.Jsonb(_SESSION)},
    )
    end_with_client(conn)
    conn.commit()


def _take(
    conn: psycopg.Connection, statement: sql.Composed, lock: Lock | None, name: str | None, seconds: float
) -> None:
    # One message to the server, for every slice that is loaded comes by here.
    script = sql.SQL("set local lock_timeout = {}; {}; set local lock_timeout = 0")
    try:
        conn.execute(script.format(f"{max(1, round(seconds * 1000))}ms", statement), prepare=False)
    except psycopg.errors.LockNotAvailable:
        raise _busy(lock, name, seconds) from None


def _busy(lock: Lock | None, name: str | None, seconds: float) -> Busy:
    with connect("transformer") as conn:
        holders = conn.execute("select pid, what, since from locks.holders(%s, %s)", [lock, name]).fetchall()
    wanted = " or ".join(filter(None, [lock and f"the lock {lock!s}", name and f"{name!r}"]))
    sessions = [
        f"process {pid} ({what}{f', since {since:%Y-%m-%d %H:%M:%S} UTC' if since else ''})"
        for pid, what, since in holders
    ]
    ends = ", ".join(f"select pg_terminate_backend({pid})" for pid, *_ in holders)
    return Busy(
        f"{wanted} was not free within {seconds:g} s: {', '.join(sessions) or 'another session'} holds it",
        f"let that end{f', or end it as a superuser ({ends})' if ends else ''}; then do this again",
    )
