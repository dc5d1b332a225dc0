"""Connections that a thread uses again.

A new connection costs the server a process that looks everything up anew: more than a visit that finds nothing.
"""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from kkbc.warehouse.connection import Role, connect, conninfo


def _as_it_is(conn: psycopg.Connection) -> None:
    """No settings but those of `connect`."""


_Key = tuple[str, bool, Callable[[psycopg.Connection], None]]


class _Idle:
    """A connection that waits for its next use, and is closed when its thread ends before that."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn: psycopg.Connection | None = conn

    def take(self) -> psycopg.Connection | None:
        """The connection; None when it does not stand any more, and is closed."""
        conn, self.conn = self.conn, None
        if conn is not None and (conn.closed or _has_ended(conn)):
            conn.close()
            return None
        return conn

    def __del__(self) -> None:
        if self.conn is not None:
            self.conn.close()


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.idle: dict[_Key, _Idle] = {}


_of_thread = _OfThread()


@contextmanager
def reused(
    role: Role, *, autocommit: bool = False, set_up: Callable[[psycopg.Connection], None] = _as_it_is
) -> Iterator[psycopg.Connection]:
    """A connection as `kkbc.warehouse.connect` opens it: one of this thread's that was set up alike, else a new one.

    `set_up` is called with a new one. It is kept when the block ends well and outside of a transaction, and else
    closed, so that what went wrong ends with its session; what the block sets for the session, the next one finds set.
    Raises UserError when a new one cannot be had.
    """
    key = (conninfo(role), autocommit, set_up)
    idle = _of_thread.idle.pop(key, None)
    conn = idle.take() if idle is not None else None
    is_new = conn is None
    if conn is None:
        conn = connect(role, autocommit=autocommit)
    try:
        if is_new:
            set_up(conn)
        yield conn
    except BaseException:
        conn.close()
        raise
    if conn.closed or conn.info.transaction_status != TransactionStatus.IDLE or key in _of_thread.idle:
        conn.close()
    else:
        _of_thread.idle[key] = _Idle(conn)


def _has_ended(conn: psycopg.Connection) -> bool:
    """Whether the server closed an idle connection: then there is something to read, that it is over."""
    readable, _, _ = select.select([conn.fileno()], [], [], 0)
    return bool(readable)
