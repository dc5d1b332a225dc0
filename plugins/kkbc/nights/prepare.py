"""Prepare: a home that can take a night, whatever it was before. What `kkbc up` and `kkbc run` start with."""

import logging
import secrets
from pathlib import Path

import psycopg
from filelock import FileLock
from psycopg import sql

from kkbc.core import landing_keys, tokens
from kkbc.core.errors import UserError
from kkbc.core.home import make_home
from kkbc.core.settings import get_settings
from kkbc.marts.runner import parse_ahead
from kkbc.slices import mask_stored
from kkbc.warehouse import schema, server
from kkbc.warehouse.connection import DATABASE, connect
from kkbc.warehouse.kept import check_present, landing_key_ids

log = logging.getLogger(__name__)


def prepare() -> None:
    """Starts the embedded server unless another one is configured, makes keys and logins, migrates. Idempotent.

    The dbt project is parsed too, so that the first night finds it so.
    Raises UserError when the server cannot start or be reached or may not be migrated, and when the key that the
    warehouse was loaded with is gone: a new one would make every known participant a stranger.
    """
    settings = get_settings()
    make_home(settings.home)
    # Two that come to a new home at once: the second waits, then finds it prepared.
    with FileLock(settings.home / ".prepare.lock"):
        if settings.database_url:
            schema.migrate()
        else:
            running = server.start(settings.home)
            schema.create_database(running, DATABASE)
            schema.migrate()
            _give_bi_its_password(settings.keys / "bi.password", running)
        if not settings.pii_key_connection:
            _make_key_for_a_new_warehouse(settings.home)
        if settings.landing_encryption:
            _make_first_landing_key()
        mask_stored()
    _parse_the_project()


def _make_key_for_a_new_warehouse(home: Path) -> None:
    with connect("loader") as conn:
        check_present(conn)
    tokens.ensure_key(home)


def _make_first_landing_key() -> None:
    """Where files lie under a key that is gone, none is made: the start of a night says what to restore."""
    with connect("loader") as conn:
        known = landing_key_ids(conn)
    if not known:
        landing_keys.ensure()


def _parse_the_project() -> None:
    """Here it takes no time of a night. A project that does not parse stops builds alone: loads go on."""
    try:
        parse_ahead()
    except UserError as error:
        log.warning("%s; until then nights load, and build nothing", error)


def _give_bi_its_password(path: Path, running: server.Server) -> None:
    """The login `bi` comes in over TCP with the password in `path`, made once and set at each start."""
    tokens.make_secret(path, secrets.token_urlsafe(18))
    with psycopg.connect(running.conninfo(), autocommit=True) as conn:
        password = sql.Literal(path.read_text().strip())
        conn.execute(sql.SQL("alter role bi password {}").format(password))
