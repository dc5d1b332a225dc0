"""The suppression list in the warehouse: who was erased, by tokens under keys of its own (Exchange rule 22)."""

from collections.abc import Sequence

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
