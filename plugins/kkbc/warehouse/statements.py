"""Statistics of statements: the extension pg_stat_statements where the server has it, and what it says of a night."""

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.rows import dict_row

from kkbc.core.errors import UserError

MISSING = UserError(
    "the server keeps no statistics of statements",
    "set shared_preload_libraries = 'pg_stat_statements', restart it, then let a superuser run"
    " `create extension pg_stat_statements schema statements` in this database; see docs/runbooks/slow-queries.md",
)
# Part of the platform by the role that a statement ran as.
PARTS = {
    "loader": "pulls and loads",
    "transformer": "build",
    "auditor": "audits, status, board",
    "publisher": "publication",
}
READER = "readers"
OWNER = "migration, upkeep"


def make(conn: psycopg.Connection) -> None:
    """Makes the extension where the login may; elsewhere an administrator does, or nobody."""
    refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile)
    with suppress(*refused), conn.transaction():
        conn.execute("create extension if not exists pg_stat_statements schema statements")


def slowest(conn: psycopg.Connection, most: int) -> list[dict[str, Any]]:
    """The statements that took the most time since the last night began, of role auditor's `conn`, without values.

    Rows with role, part (of the platform), model (of dbt, or None), calls, total_seconds, mean_seconds, rows, since,
    statement. Raises UserError where the server does not count statements.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        try:
            with conn.transaction():
                found = cursor.execute("select * from ops.slow_statements(%s)", [most]).fetchall()
                owner = cursor.execute(
                    "select pg_get_userbyid(datdba) as name from pg_database where datname = current_database()"
                ).fetchone()
        except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InsufficientPrivilege):
            raise MISSING from None
    assert owner is not None
    for row in found:
        row["part"] = PARTS.get(row["role"], OWNER if row["role"] == owner["name"] else READER)
    return found
