"""Schema of raw, ops and vault: made and upgraded by Alembic. What dbt builds is not made here."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine

from kkbc.errors import UserError
from kkbc.warehouse import connection, server

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate() -> None:
    """Brings the warehouse to the newest schema; does nothing when it is there already. Needs the owner's login.

    Raises UserError when the database cannot be reached or the login may not create roles and schemas.
    """
    connection.connect().close()
    engine = create_engine("postgresql+psycopg://", creator=connection.connect)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.begin() as conn:
            # Two migrating at once: the second waits, then finds nothing to do.
            conn.exec_driver_sql("select pg_advisory_xact_lock(hashtext('kkbc.migrate'))")
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise UserError(
                f"the login of KKBC_DATABASE_URL may not migrate: {cause.diag.message_primary}",
                "migrate with the owner of the database, who needs CREATEROLE",
            ) from error
        raise
    finally:
        engine.dispose()


def create_database(running: server.Server, name: str, *, template: str | None = None) -> None:
    """Creates database `name` on the embedded server unless it exists, as a copy of `template` when given."""
    with psycopg.connect(running.conninfo(), autocommit=True) as conn:
        if conn.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return
        statement = sql.SQL("create database {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" template {}").format(sql.Identifier(template))
        conn.execute(statement)


def drop_database(running: server.Server, name: str) -> None:
    """Drops database `name` of the embedded server, ending the sessions in it."""
    with psycopg.connect(running.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
