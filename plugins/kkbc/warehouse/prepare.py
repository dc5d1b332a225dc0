"""Prepare: a home that can take a night, whatever it was before. What `kkbc up` and `kkbc run` start with."""

import os
import secrets
from pathlib import Path

import psycopg
from psycopg import sql

from kkbc import privacy
from kkbc.settings import get_settings
from kkbc.warehouse import schema, server
from kkbc.warehouse.connection import DATABASE


def prepare() -> None:
    """Starts the embedded server unless another one is configured, makes key and logins, migrates. Idempotent.

    Raises UserError when the server cannot start or be reached, or may not be migrated.
    """
    settings = get_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    privacy.ensure_key(settings.home)
    if settings.database_url:
        schema.migrate()
        return
    running = server.start(settings.home)
    schema.create_database(running, DATABASE)
    schema.migrate()
    _give_bi_its_password(settings.keys / "bi.password", running)


def _give_bi_its_password(path: Path, running: server.Server) -> None:
    """The login `bi` comes in over TCP with the password in `path`, made once and set at each start."""
    if not path.is_file():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(18) + "\n")
    with psycopg.connect(running.conninfo(), autocommit=True) as conn:
        password = sql.Literal(path.read_text().strip())
        conn.execute(sql.SQL("alter role bi password {}").format(password))
