"""The suppression list in the warehouse: who was erased, by tokens under keys of its own (Exchange rule 22)."""

from collections.abc import Sequence
from datetime import datetime

import psycopg

from kkbc.core.suppression import Suppression
from kkbc.warehouse.kept import suppression_keys


def load_suppression(conn: psycopg.Connection) -> Suppression:
    """The list as it is now. `conn` acts as role loader.

    Whoever judges rows reads it under the lock of the branch (kkbc.slices.locks.branch_locked): an erasure that begins
    later waits for that lock before it looks for what was landed and loaded.
    Raises UserError when there is a list and its keys cannot be had.
    """
    tokens = frozenset(token for (token,) in conn.execute("select token from vault.suppressed").fetchall())
    return Suppression(suppression_keys(conn), tokens) if tokens else Suppression()


def suppress(conn: psycopg.Connection, erasure_id: int, tokens: Sequence[str]) -> int:
    """Puts persons on the list; returns how many of them were not on it. `conn` acts as the owner."""
    return conn.execute(
        "insert into vault.suppressed (token, erasure_id) select token, %s from unnest(%s::text[]) as token"
        " on conflict do nothing",
        [erasure_id, sorted(tokens)],
    ).rowcount


def already_suppressed(conn: psycopg.Connection, tokens: Sequence[str]) -> dict[str, int]:
    """Those of the tokens that are on the list, with the erasure that put them there."""
    rows = conn.execute(
        "select token, erasure_id from vault.suppressed where token = any(%s)", [list(tokens)]
    ).fetchall()
    return dict(rows)


def erasure_of(conn: psycopg.Connection, nik: str) -> dict[str, datetime | None] | None:
    """Since when the person of a NIK is on the list, and when that erasure was done; None for one who is not on it.

    `conn` acts as role loader. An entry that a restore brought may have no erasure in this warehouse. Raises UserError
    when there are keys of the list and they cannot be had.
    """
    keys = suppression_keys(conn)
    if not keys:
        return None
    row = conn.execute(
        "select s.suppressed_at, e.finished_at from vault.suppressed s left join ops.erasure e"
        " on e.erasure_id = s.erasure_id and s.suppressed_at between e.started_at and coalesce(e.finished_at, now())"
        " where s.token = %s",
        [Suppression(keys).token_of(nik)],
    ).fetchone()
    return None if row is None else {"kept_out_since": row[0], "erased_at": row[1]}
