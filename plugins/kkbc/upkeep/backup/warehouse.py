"""The warehouse in a backup: one snapshot of it, dumped, counted, and loaded again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.slices.record import move_landing
from kkbc.upkeep.backup.store import Role
from kkbc.upkeep.backup.suppression import Entry, read
from kkbc.warehouse import access, connect

SCHEMAS = ("raw", "vault", "ops", "next", "bi", "bi_detail", "bi_kept", "readers")

_ROLES = """
with recursive ours as (
    select oid from pg_roles where rolname = any(%(roles)s)
    union
    select m.member from pg_auth_members m join ours on m.roleid = ours.oid
)
select r.rolname, r.rolcanlogin, r.rolconnlimit,
    array(select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid
        where m.member = r.oid and m.roleid in (select oid from ours) order by 1)
from pg_roles r
where r.oid in (select oid from ours) and not r.rolsuper
order by 1
"""


@dataclass(frozen=True)
class Standing:
    """What a snapshot of the warehouse holds, besides its rows."""

    snapshot: str
    server_version: int
    owner: str
    schema_version: str
    key_fingerprint: str | None
    roles: list[Role]
    suppressed: list[Entry]


def check_migrated() -> None:
    """Raises UserError for a database that holds no warehouse."""
    with connect() as conn:
        if _value(conn, "select to_regclass('public.schema_version')::text") is None:
            raise UserError("the database holds no warehouse", "there is nothing to back up before `kkbc migrate`")


@contextmanager
def snapshot() -> Iterator[tuple[psycopg.Connection, Standing]]:
    """A connection that sees one snapshot for the length of a block, and what there is to say of the warehouse then."""
    with connect() as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield (
            conn,
            Standing(
                _value(conn, "select pg_export_snapshot()"),
                conn.info.server_version,
                _value(
                    conn, "select pg_get_userbyid(datdba)::text from pg_database where datname = current_database()"
                ),
                _value(conn, "select version_num from public.schema_version"),
                _value(conn, "select max(value) from ops.setting where name = 'pii_key_fingerprint'"),
                [
                    Role(name=name, login=login, connection_limit=limit, member_of=groups)
                    for name, login, limit, groups in conn.execute(
                        _ROLES, {"roles": list(access.CONNECTING)}
                    ).fetchall()
                ],
                read(conn),
            ),
        )


def count(conn: psycopg.Connection) -> dict[str, int]:
    """The rows of each table; of a partitioned one, of all its partitions."""
    tables = conn.execute(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = any(%s) and c.relkind in ('r', 'p') and not c.relispartition order by 1, 2",
        [list(SCHEMAS)],
    ).fetchall()
    found = {}
    for schema, table in tables:
        row = conn.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))).fetchone()
        assert row is not None
        found[f"{schema}.{table}"] = int(row[0])
    return found


def is_empty() -> bool:
    """Whether the database of KKBC_DATABASE_URL holds nothing but what a new one may hold: extensions and schemas."""
    with connect() as conn:
        return not _value(
            conn,
            "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname !~ '^(pg_|information_schema$)' and not exists (select from pg_depend d"
            " where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'))",
        )


def make_ready(roles: Sequence[Role], owner: str) -> list[str]:
    """Makes what the dump does not: the roles that are not there, with their memberships, and a schema of the server's.

    Returns the logins that were made, without a password.
    Raises UserError when the login may not, and when it can make nobody else the owner of what is loaded.
    """
    made = []
    with connect() as conn:
        login, superuser = conn.execute(
            "select current_user::text, rolsuper from pg_roles where rolname = current_user"
        ).fetchone() or ("", False)
        if login != owner and not superuser:
            raise UserError(
                f"the backup's objects belong to {owner!r}, and the login is {login!r}",
                f"restore as {owner!r}, or as a superuser",
            )
        try:
            # On a server of one's own its administrator made it, with the extension in it.
            conn.execute("create schema if not exists statements")
            for role in (*roles, Role(name=owner, login=False, connection_limit=-1, member_of=[])):
                if not _value(conn, "select exists (select from pg_roles where rolname = %s)", role.name):
                    _make(conn, role, None if superuser else login)
                    made += [role.name] if role.login else []
            for role in roles:
                for group in role.member_of:
                    if not _value(conn, "select pg_has_role(%s::name, %s::name, 'member')", role.name, group):
                        conn.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(role.name)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise UserError(
                f"the login {login!r} may not make roles: {error.diag.message_primary}",
                "restore as one with CREATEROLE",
            ) from error
    return made


def finish(before: dict[str, int], old_root: str, new_root: str) -> None:
    """Gives the planner its statistics, and records of landing the place where it lies now.

    Raises UserError when a table does not hold the rows that the backup says.
    """
    with connect() as conn:
        found = count(conn)
        wrong = [
            f"{table} {found.get(table, 0)} of {rows}" for table, rows in before.items() if found.get(table) != rows
        ]
        if wrong:
            raise UserError(f"not all rows were loaded: {', '.join(wrong[:3])}", "restore again, or another backup")
        if old_root != new_root:
            move_landing(conn, old_root, new_root)
    with connect(autocommit=True) as conn:
        conn.execute("analyze")


def _make(conn: psycopg.Connection, role: Role, maker: str | None) -> None:
    name = sql.Identifier(role.name)
    limit = sql.Literal(role.connection_limit)
    kind = sql.SQL("login connection limit {}").format(limit) if role.login else sql.SQL("nologin")
    conn.execute(sql.SQL("create role {} {}").format(name, kind))
    if maker is not None and (not role.login or role.name == "bi"):
        # As the first migration does it: the owner acts as these roles, and hands objects over to them.
        conn.execute(sql.SQL("grant {} to {}").format(name, sql.Identifier(maker)))


def _value(conn: psycopg.Connection, query: LiteralString, *parameters: object) -> Any:
    row = conn.execute(query, parameters).fetchone()
    return None if row is None else row[0]
