"""Readers: who sees the rows of which branches in schema `bi`.

One mapping, `readers.branch_reader`, written by the owner of the database alone. A reader is a login of its own in role
`branch_bi`, or a name for which a gateway asks: a login in `bi_gateway` that sets `app.bi_user` and a ticket for it
(kkbc.core.bi_tickets). It sees branches, the branches of regional offices, or all.
"""

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg

from kkbc.core.bi_tickets import KEY_BYTES
from kkbc.core.errors import UserError
from kkbc.exchange.offices import rows
from kkbc.exchange.registry import load_registry
from kkbc.warehouse import access, connect

Standing = Literal["login", "sees all", "not in branch_bi", "no login"]
ALL = "all"


@dataclass(frozen=True)
class Mapped:
    """A reader sees a branch, the branches of a regional office (`kanwil_id`), or, with neither, all."""

    reader: str
    level: Literal["branch", "region", "nation"]
    branch_id: str | None
    kanwil_id: str | None
    granted_at: datetime
    granted_by: str

    @property
    def scope(self) -> str:
        """What it sees, as `kkbc reader grant` takes it."""
        return self.branch_id or self.kanwil_id or ALL


def grant(reader: str, places: Sequence[str], *, who: str) -> list[str]:
    """Lets a reader see the rows of `places`: branches, regional offices by id or name, or `all`.

    A regional office has the branches that are published as its own, today's and those that join it. Returns what is
    new, as ids. Raises UserError for a place that there is not, and when the login of the warehouse is not its owner.
    """
    if not reader.strip() or not reader.isprintable():
        raise UserError("a reader has a name", "give the login, or the name that a gateway gives in app.bi_user")
    if re.search(r"\d{16}", reader):
        raise UserError("that reader's name could be a person's number", "give the login's name")
    scopes = list(dict.fromkeys(map(_scope, places)))
    with _owner() as conn:
        found = conn.execute(
            "insert into readers.branch_reader (reader, level, branch_id, kanwil_id, granted_by)"
            " select %(reader)s, case when s = 'all' then 'nation' when s like 'KW%%' then 'region' else 'branch' end,"
            " case when s <> 'all' and s not like 'KW%%' then s end, case when s like 'KW%%' then s end, %(who)s"
            " from unnest(%(scopes)s::text[]) s"
            " on conflict (reader, scope) where revoked_at is null do nothing returning scope",
            {"reader": reader, "who": who, "scopes": scopes},
        ).fetchall()
        # A login that an administrator made has no limit of connections yet.
        access.apply(conn, server=False)
    return sorted(scope for (scope,) in found)


def revoke(reader: str, places: Sequence[str], *, who: str) -> list[str]:
    """Takes places from a reader, all of its when none is named; returns them.

    Raises UserError when it was not given one of them, and when the login of the warehouse is not its owner.
    """
    scopes = [_scope(place, known=False) for place in places]
    with _owner() as conn:
        gone = conn.execute(
            "update readers.branch_reader set revoked_at = now(), revoked_by = %(who)s where reader = %(reader)s"
            " and revoked_at is null and (scope = any(%(scopes)s) or cardinality(%(scopes)s::text[]) = 0)"
            " returning scope",
            {"who": who, "reader": reader, "scopes": scopes},
        ).fetchall()
        found = sorted(scope for (scope,) in gone)
        if missing := sorted(set(scopes) - set(found)):
            raise UserError(f"{reader!r} does not see {', '.join(missing)}", "`kkbc reader list` tells what it sees")
        if not found:
            raise UserError(f"{reader!r} sees no branch", "`kkbc reader list` names the readers")
    return found


def mapping() -> list[Mapped]:
    """Who sees what now."""
    with connect("auditor") as conn:
        found = conn.execute(
            "select reader, level, branch_id, kanwil_id, granted_at, granted_by from readers.branch_reader"
            ' where revoked_at is null order by reader collate "C", level, scope'
        ).fetchall()
    return [Mapped(*row) for row in found]


def standing(reader: str) -> Standing:
    """Whether a reader is a login to which the mapping applies, and if not why, or a name for a gateway."""
    with connect("auditor") as conn:
        row = conn.execute(
            "select pg_has_role(oid, 'branch_bi', 'usage'),"
            " pg_has_role(oid, 'bi', 'usage') or pg_has_role(oid, 'analyst', 'usage')"
            " from pg_roles where rolname = %s and rolcanlogin",
            [reader],
        ).fetchone()
    if row is None:
        return "no login"
    return "sees all" if row[1] else "login" if row[0] else "not in branch_bi"


def gateway_key() -> str:
    """The key under which gateways sign their tickets, in hexadecimal digits; made when there is none.

    Raises UserError when the login of the warehouse is not its owner.
    """
    with _owner() as conn:
        row = conn.execute("select encode(key, 'hex') from readers.gateway_key where revoked_at is null").fetchone()
    return str(row[0]) if row else replace_gateway_key(secrets.token_hex(KEY_BYTES), who="first use")


def replace_gateway_key(key: str, *, who: str) -> str:
    """Puts a key in the place of the one in force, whose tickets end at once; returns it.

    Raises UserError when it is not 64 hexadecimal digits, and when the login of the warehouse is not its owner.
    """
    if not re.fullmatch(rf"[0-9a-f]{{{2 * KEY_BYTES}}}", key):
        raise UserError(
            f"the key of a gateway has {2 * KEY_BYTES} hexadecimal digits", "make one with `openssl rand -hex 32`"
        )
    with _owner() as conn:
        given = {"key": bytes.fromhex(key), "who": who}
        conn.execute(
            "update readers.gateway_key set revoked_at = now() where revoked_at is null and key <> %(key)s", given
        )
        conn.execute(
            "insert into readers.gateway_key (key, created_by) values (%(key)s, %(who)s)"
            " on conflict ((true)) where revoked_at is null do nothing",
            given,
        )
    return key


def _scope(place: str, *, known: bool = True) -> str:
    """A place as the mapping holds it. `known`: it must be in the registry or the reference table today."""
    if place.casefold() == ALL:
        return ALL
    offices = {row["kanwil_id"]: row["kanwil_name"] for row in rows("regional_offices")}
    for kanwil_id, name in offices.items():
        if place.casefold() in (kanwil_id.casefold(), name.casefold()):
            return kanwil_id
    if re.fullmatch(r"kc\d{3}|hq", place, re.IGNORECASE):
        place = place.upper()
    if not known:
        return place
    if not re.fullmatch(r"KC\d{3}|HQ", place):
        names = ", ".join(f"{kanwil_id} {name}" for kanwil_id, name in offices.items())
        raise UserError(
            f"{place!r} is no branch and no regional office",
            f"name a branch of config/branches.yml, `all`, or one of {names}",
        )
    return load_registry().get(place).branch_id


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
