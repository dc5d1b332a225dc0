"""Schema of raw, ops and vault: made and upgraded by Alembic. What dbt builds is not made here."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import IntegrityError

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.warehouse import access, connection, feeds, server, statements

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate() -> None:
    """Brings the warehouse to the newest schema with tables for every feed, and readers under their limits.

    Needs the owner's login. Raises UserError when the database cannot be reached, the login may not create roles and
    schemas, a contract is broken, or a table does not fit the contract of its feed (see kkbc.warehouse.feeds).
    """
    connection.connect().close()
    engine = create_engine("postgresql+psycopg://", creator=connection.connect)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.begin() as conn:
            lock_migrations(conn)
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
        with connection.connect() as plain:
            plain.execute("lock table locks.migration in exclusive mode")
            plain.execute("set local lock_timeout = '60s'")
            feeds.make(plain)
            statements.make(plain)
            access.apply(plain, server=not get_settings().database_url)
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise UserError(
                f"the login of KKBC_DATABASE_URL may not migrate: {cause.diag.message_primary}",
                "migrate with the owner of the database, who needs CREATEROLE",
            ) from error
        if isinstance(cause, psycopg.errors.LockNotAvailable):
            raise UserError(
                f"a table that the migration changes is kept by others: {cause.diag.message_primary}",
                "end their transactions (pg_stat_activity tells whose), then migrate again",
            ) from error
        raise
    finally:
        engine.dispose()


def lock_migrations(conn: Connection) -> None:
    """Keeps others from migrating to the end of the transaction: the second waits, then finds nothing to do.

    Makes what is locked where it is not there yet; two who do that at once wait for each other as well.
    """
    # Readers of a view that a migration replaces may keep it for as long as they like.
    conn.exec_driver_sql("set local lock_timeout = '10min'")
    while conn.exec_driver_sql("select to_regclass('locks.migration')").scalar() is None:
        try:
            with conn.begin_nested():
                conn.exec_driver_sql("create schema if not exists locks")
                conn.exec_driver_sql("create table if not exists locks.migration ()")
        except IntegrityError:
            continue
    conn.exec_driver_sql("lock table locks.migration in exclusive mode")
    conn.exec_driver_sql("set local lock_timeout = '60s'")


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
