"""Readers of branches: who sees the rows of which branch in schema `bi`.

One mapping, `readers.branch_reader`, written by the owner of the database alone. A reader is a login of its own in role
`branch_bi`, or a name that the login of a gateway, a member of `bi_gateway`, gives in `app.bi_user`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg

from kkbc.core.errors import UserError
from kkbc.exchange.registry import load_registry
from kkbc.warehouse import access, connect

Standing = Literal["login", "not in branch_bi", "no login"]


@dataclass(frozen=True)
class Mapped:
    """A reader sees the rows of a branch."""

    reader: str
    branch_id: str
    granted_at: datetime
    granted_by: str


def grant(reader: str, branch_ids: Sequence[str], *, who: str) -> list[str]:
    """Lets a reader see the rows of branches; returns those that it did not see before.

    Raises UserError for a branch that is not in the registry, and when the login of the warehouse is not its owner.
    """
    if not reader.strip():
        raise UserError("a reader has a name", "give the login, or the name that a gateway gives in app.bi_user")
    if re.search(r"\d{16}", reader):
        raise UserError("that reader's name could be a person's number", "give the login's name")
    for branch_id in branch_ids:
        load_registry().get(branch_id)
    with _owner() as conn:
        rows = conn.execute(
            "insert into readers.branch_reader (reader, branch_id, granted_by)"
            " select %s, b, %s from unnest(%s::text[]) b"
            " on conflict (reader, branch_id) where revoked_at is null do nothing returning branch_id",
            [reader, who, list(dict.fromkeys(branch_ids))],
        ).fetchall()
        # A login that an administrator made has no limit of connections yet.
        access.apply(conn, server=False)
    return sorted(branch_id for (branch_id,) in rows)


def revoke(reader: str, branch_ids: Sequence[str], *, who: str) -> list[str]:
    """Lets a reader no longer see the rows of branches, of any when none is named; returns them.

    Raises UserError when it does not see one of them, and when the login of the warehouse is not its owner.
    """
    with _owner() as conn:
        rows = conn.execute(
            "update readers.branch_reader set revoked_at = now(), revoked_by = %(who)s where reader = %(reader)s"
            " and revoked_at is null and (branch_id = any(%(branches)s) or cardinality(%(branches)s::text[]) = 0)"
            " returning branch_id",
            {"who": who, "reader": reader, "branches": list(branch_ids)},
        ).fetchall()
        found = sorted(branch_id for (branch_id,) in rows)
        if missing := sorted(set(branch_ids) - set(found)):
            raise UserError(f"{reader!r} does not see {', '.join(missing)}", "`kkbc reader list` tells what it sees")
        if not found:
            raise UserError(f"{reader!r} sees no branch", "`kkbc reader list` names the readers")
    return found


def mapping() -> list[Mapped]:
    """Who sees which branch now."""
    with connect("auditor") as conn:
        rows = conn.execute(
            "select reader, branch_id, granted_at, granted_by from readers.branch_reader where revoked_at is null"
            ' order by reader collate "C", branch_id'
        ).fetchall()
    return [Mapped(*row) for row in rows]


def standing(reader: str) -> Standing:
    """Whether a reader is a login that may read, one that still lacks role branch_bi, or a name for a gateway."""
    with connect("auditor") as conn:
        row = conn.execute(
            "select pg_has_role(oid, 'branch_bi', 'usage') from pg_roles where rolname = %s and rolcanlogin", [reader]
        ).fetchone()
    if row is None:
        return "no login"
    return "login" if row[0] else "not in branch_bi"


@contextmanager
def _owner() -> Iterator[psycopg.Connection]:
    """A transaction as the login of the warehouse itself."""
    try:
        with connect() as conn:
            yield conn
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(
            "the login of the warehouse may not say who reads which branch", "do it as the owner of the database"
        ) from error
