"""Who may connect, and what a reader cannot do: what lies outside the migrations, because it belongs to the database
as such, to logins, to the server, or follows settings.

Each measure is a statement that is left out when its effect is there. Some need a superuser: on the embedded server
they are carried out at each start; elsewhere `kkbc doctor` names those that the server's administrator must run.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql

from kkbc.core.settings import get_settings

# Who may connect to the warehouse besides its owner: logins that are members of one of these.
CONNECTING = ("loader", "transformer", "auditor", "publisher", "bi", "analyst", "branch_bi", "bi_gateway", "pii")
TEMPORARY = ("loader", "transformer", "auditor", "publisher")
READERS = ("bi", "analyst", "branch_bi", "bi_gateway", "pii")
# Databases of every server that have nothing to offer to a reader, and that of the local Airflow.
OTHER_DATABASES = ("postgres", "template1", "airflow")
# Logins of Airflow and of the branch board, where they have their own.
SERVANTS = ("airflow", "kkbc_board")
# Functions that anybody may call, and that take room or locks away from others.
FUNCTIONS = r"^(pg_(try_)?advisory_.*|lo_.*|loread|lowrite|pg_notify|pg_logical_emit_message)$"
LOCK_SECONDS = 60
# The pipeline's own connections are at most some fifty; Airflow's as many again.
RESERVED_CONNECTIONS = 100

Place = Literal["database", "server", "configuration"]


@dataclass(frozen=True)
class Measure:
    """A statement that is still to be run: within the database, on the server, or in its configuration."""

    place: Place
    statement: str


def apply(conn: psycopg.Connection, *, server: bool) -> list[Measure]:
    """Carries out what is left to do, as the login of `conn`; returns what that login may not do.

    server: also what concerns other databases of the server, which is the installation's own.
    """
    for measure in outstanding(conn):
        if measure.place == "database" or (measure.place == "server" and server):
            with suppress(psycopg.errors.InsufficientPrivilege), conn.transaction():
                conn.execute(sql.SQL(measure.statement))
    # Asked again, for PostgreSQL only warns of a revocation that revoked nothing.
    return outstanding(conn)


def outstanding(conn: psycopg.Connection) -> list[Measure]:
    """What is left to do before no reader can hold up the pipeline."""
    looks = (_databases, _schemas_and_languages, _functions, _owner, _limits, _connections, _reserved)
    return [measure for look in looks for measure in look(conn)]


def _databases(conn: psycopg.Connection) -> Iterator[Measure]:
    for database, privilege in conn.execute(
        "select d.datname, a.privilege_type from pg_database d"
        " cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a"
        " where a.grantee = 0 and (d.datname = current_database() or d.datname = any(%s)) order by 1, 2",
        [list(OTHER_DATABASES)],
    ).fetchall():
        own = database == conn.info.dbname
        yield _measure("database" if own else "server", f"revoke {privilege} on database {{}} from public", database)
    for privilege, roles in (("connect", CONNECTING), ("temporary", TEMPORARY)):
        for (role,) in conn.execute(
            "select r from unnest(%s::text[]) r where not exists (select from pg_database d"
            " cross join lateral aclexplode(d.datacl) a where d.datname = current_database()"
            " and a.grantee = r::regrole and a.privilege_type = upper(%s))",
            [list(roles), privilege],
        ).fetchall():
            yield _measure("database", f"grant {privilege} on database {{}} to {{}}", conn.info.dbname, role)


def _schemas_and_languages(conn: psycopg.Connection) -> Iterator[Measure]:
    if _value(conn, "select has_schema_privilege('public', 'public', 'create')"):
        yield Measure("database", "revoke create on schema public from public")
    if _value(conn, "select has_language_privilege('public', 'plpgsql', 'usage')"):
        # Migrations are written in it.
        yield _measure("database", "grant usage on language plpgsql to {}", _owner_name(conn))
        yield Measure("database", "revoke usage on language plpgsql from public")


def _functions(conn: psycopg.Connection) -> Iterator[Measure]:
    for (signature,) in conn.execute(
        "select oid::regprocedure::text from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname ~ %s"
        " and has_function_privilege('public', oid, 'execute') order by 1",
        [FUNCTIONS],
    ).fetchall():
        yield Measure("database", f"revoke execute on function pg_catalog.{signature} from public")


def _owner(conn: psycopg.Connection) -> Iterator[Measure]:
    """The owner sees and ends sessions of readers; it and Airflow come in when they have taken all connections."""
    owner = _owner_name(conn)
    for role, login in conn.execute(
        "select r.rolname, l.rolname from pg_roles r, pg_roles l where not pg_has_role(l.oid, r.oid, 'member')"
        " and (r.rolname in ('pg_signal_backend', 'pg_read_all_stats', 'pg_use_reserved_connections')"
        " and l.rolname = %s or r.rolname = 'pg_use_reserved_connections' and l.rolname = any(%s)) order by 1, 2",
        [owner, list(SERVANTS)],
    ).fetchall():
        yield _measure("database" if login == owner else "server", "grant {} to {}", role, login)


def _limits(conn: psycopg.Connection) -> Iterator[Measure]:
    """Of all logins by the database; the owner is set free of them. All but temp_file_limit a session may set again."""
    settings, owner = get_settings(), _owner_name(conn)
    wanted = {
        "statement_timeout": (f"{settings.reader_statement_seconds}s", "0"),
        "idle_in_transaction_session_timeout": (f"{settings.reader_idle_seconds}s", "0"),
        "transaction_timeout": (f"{settings.reader_transaction_seconds}s", "0"),
        "lock_timeout": (f"{LOCK_SECONDS}s", "0"),
        "temp_file_limit": (f"{settings.reader_temp_mb}MB", "-1"),
    }
    known = {name for (name,) in conn.execute("select name from pg_settings").fetchall()}
    for name, (limit, none) in wanted.items():
        if name not in known:  # transaction_timeout, before PostgreSQL 17
            continue
        # First, for the owner must not come under the limit in between.
        if _setting(conn, name, owner) != none:
            yield _measure(
                "database", f"alter role {{}} in database {{}} set {name} = '{none}'", owner, conn.info.dbname
            )
        if _setting(conn, name, None) != limit:
            yield _measure("database", f"alter database {{}} set {name} = '{limit}'", conn.info.dbname)


def _connections(conn: psycopg.Connection) -> Iterator[Measure]:
    """Of each login of readers; that which an administrator chose for a login other than `bi` stays."""
    limit = get_settings().reader_connections
    for (login,) in conn.execute(
        "select l.rolname from pg_roles l where l.rolcanlogin and not l.rolsuper"
        " and not pg_has_role(l.oid, 'publisher', 'member')"
        " and exists (select from unnest(%s::text[]) r where pg_has_role(l.oid, r::regrole, 'member'))"
        " and (l.rolconnlimit = -1 or (l.rolname = 'bi' and l.rolconnlimit <> %s)) order by 1",
        [list(READERS), limit],
    ).fetchall():
        yield _measure("database", f"alter role {{}} connection limit {limit}", login)


def _reserved(conn: psycopg.Connection) -> Iterator[Measure]:
    superuser = _value(conn, "select rolsuper from pg_roles where rolname = %s", [_owner_name(conn)])
    name = "superuser_reserved_connections" if superuser else "reserved_connections"
    row = conn.execute("select setting::int from pg_settings where name = %s", [name]).fetchone()
    if row is not None and row[0] < RESERVED_CONNECTIONS // 2:
        yield Measure(
            "configuration", f"alter system set {name} = {RESERVED_CONNECTIONS} /* then restart the server */"
        )


def _setting(conn: psycopg.Connection, name: str, role: str | None) -> str | None:
    """What is set for this database, and for a role in it or for all; None when nothing is."""
    row = conn.execute(
        "select substr(c, length(%(name)s) + 2) from pg_db_role_setting s cross join unnest(s.setconfig) c"
        " where s.setdatabase = (select oid from pg_database where datname = current_database())"
        " and s.setrole = coalesce(%(role)s::regrole::oid, 0) and starts_with(c, %(name)s || '=')",
        {"name": name, "role": role and sql.Identifier(role).as_string()},
    ).fetchone()
    return None if row is None else str(row[0])


def _owner_name(conn: psycopg.Connection) -> str:
    return str(_value(conn, "select pg_get_userbyid(datdba) from pg_database where datname = current_database()"))


def _value(conn: psycopg.Connection, query: str, parameters: list[Any] | None = None) -> Any:
    row = conn.execute(query, parameters or []).fetchone()
    assert row is not None
    return row[0]


def _measure(place: Place, statement: str, *names: str) -> Measure:
    return Measure(place, sql.SQL(statement).format(*map(sql.Identifier, names)).as_string())
