"""Superset beside the embedded server of a home: its databases, logins and secrets, started and stopped.

It runs in an environment of its own (`.venv-bi`). Its metadata are a database of the embedded server, and it reads the
warehouse as a gateway: a login that sees the rows of the user it asks for, and none of its own.
"""

import hashlib
import json
import os
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
from filelock import FileLock
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kkbc.core import bi_tickets
from kkbc.core.errors import UserError
from kkbc.core.files import write_private
from kkbc.core.home import make_home
from kkbc.core.settings import PROJECT_ROOT, Settings, get_settings
from kkbc.upkeep import bi_logins
from kkbc.upkeep.dashboards import Bundle, load_bundle
from kkbc.upkeep.dashboards.files import digest, write
from kkbc.warehouse import schema, server
from kkbc.warehouse.connection import DATABASE as WAREHOUSE
from kkbc_play.stack import processes

NAME = "superset"
DATABASE = "superset"
GATEWAY = "superset_gateway"
FOLDER = PROJECT_ROOT / "bi" / "superset"
ENVIRONMENT = PROJECT_ROOT / ".venv-bi"
READY_SECONDS = 120

Say = Callable[[str], None]


@dataclass(frozen=True)
class Superset:
    """Where the Superset of a home is."""

    port: int
    password: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


def up(say: Say = lambda _: None) -> Superset:
    """Starts the Superset of the current home, with the bundle imported, and waits until it answers. Idempotent.

    Raises UserError when its environment is missing, nothing was published yet, or it does not start.
    """
    settings = get_settings()
    _check(settings)
    make_home(settings.home)
    with FileLock(settings.home / ".superset.lock"):
        running = find(settings)
        was_up = server.find(settings.home) is not None
        postgres = server.start(settings.home)
        try:
            _check_published(postgres)
        except UserError:
            if not was_up:
                server.stop(settings.home)
            raise
        kept = _secrets(settings)
        write_private(_key_file(settings), bi_logins.gateway_key() + "\n")
        port = running.port if running else _port(settings)
        _make_databases(postgres, kept)
        variables = _variables(settings, postgres, kept)
        bundle = load_bundle()
        if _noted(postgres) != _state(bundle):
            import_bundle(say, bundle=bundle)
        if running is None:
            processes.stop([NAME], settings.home / "run")
            (settings.home / "run" / "superset.port").write_text(f"{port}\n")
            processes.start(NAME, _command(port), settings.home / "run", variables)
        _wait(settings, port)
        return Superset(port, kept["admin_password"])


def down(settings: Settings) -> bool:
    """Stops the Superset of a home; False when none ran."""
    return bool(processes.stop([NAME], settings.home / "run"))


def find(settings: Settings) -> Superset | None:
    """The running Superset of a home."""
    if processes.find(NAME, settings.home / "run") is None:
        return None
    port = int((settings.home / "run" / "superset.port").read_text())
    return Superset(port, _secrets(settings)["admin_password"])


def place() -> tuple[str, str]:
    """Address and admin's password of the running Superset of the current home. Raises UserError when none runs."""
    running = find(get_settings())
    if running is None:
        raise UserError(f"no Superset runs in {get_settings().home}", "`make bi` starts it")
    return running.url, running.password


def make_sample_readers(say: Say) -> None:
    """Gives a home of played nights that has no readers yet three of them, so that its dashboards show something."""
    settings = get_settings()
    if settings.source_root or not (settings.home / "world").is_dir() or bi_logins.mapping():
        return
    for reader, place in {"pusat": bi_logins.ALL, "kanwil_jawa_barat": "KW06", "cabang_044": "KC044"}.items():
        bi_logins.grant(reader, [place], who="kkbc bi up")
        say(f"sample reader {reader} sees {place}")


def import_bundle(say: Say = lambda _: None, *, bundle: Bundle | None = None) -> Mapping[str, list[str]]:
    """Imports the bundle over what is there, whether or not Superset runs; returns what `prepare.py` says it did.

    The metadata are brought to the version of Superset first, if they are of another. Raises UserError when the import
    fails; nothing has changed then.
    """
    settings = get_settings()
    _check(settings)
    postgres = server.find(settings.home)
    if postgres is None:
        raise UserError(f"no PostgreSQL runs in {settings.home}", "`kkbc bi up` starts it, and Superset with it")
    _check_published(postgres)
    bundle = bundle or load_bundle()
    kept = _secrets(settings)
    _make_databases(postgres, kept)
    noted = _noted(postgres)
    migrate = noted.get("superset") != _version() or noted.get("prepare") != _state(bundle)["prepare"]
    say("superset: preparing its database, importing the bundle" if migrate else "superset: importing the bundle")
    outcome = _prepare(_variables(settings, postgres, kept), kept, bundle, migrate=migrate)
    for kind, what in (("removed", "removed"), ("kept", "not removed"), ("overwritten", "overwritten, was changed")):
        for line in outcome[kind]:
            say(f"superset: {what}: {line}")
    with psycopg.connect(postgres.conninfo(), autocommit=True) as conn:
        note = sql.Literal(json.dumps(_state(bundle)))
        conn.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(DATABASE), note))
    return outcome


def _check(settings: Settings) -> None:
    if settings.database_url:
        raise UserError(
            "Superset is started here beside the embedded server only, and KKBC_DATABASE_URL names another one",
            "docs/runbooks/dashboards.md says how it is deployed",
        )
    if not (ENVIRONMENT / "bin" / "gunicorn").exists():
        raise UserError(f"Superset's environment {ENVIRONMENT} is not there", "`make bi` builds it")


def _check_published(postgres: server.Server) -> None:
    try:
        with psycopg.connect(postgres.conninfo(WAREHOUSE)) as conn:
            row = conn.execute("select to_regclass('bi.dim_branch') is not null").fetchone()
    except psycopg.OperationalError:  # there is no warehouse yet
        row = None
    if row != (True,):
        raise UserError(
            "no marts were published in this home yet: dashboards would be empty", "`make run` plays nights"
        )


def _secrets(settings: Settings) -> dict[str, str]:
    path = settings.keys / "superset.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = {
        "secret_key": secrets.token_urlsafe(48),
        "gateway_password": secrets.token_urlsafe(24),
        "admin_password": secrets.token_urlsafe(12),
    }
    write_private(path, json.dumps(made))
    return made


def _key_file(settings: Settings) -> Path:
    """Where the gateway finds the key under which it signs for whom it asks."""
    return settings.keys / "superset-gateway.key"


def _make_databases(postgres: server.Server, kept: Mapping[str, str]) -> None:
    """The database of the metadata with its owner, and the login of the gateway, which asks for others."""
    with psycopg.connect(postgres.conninfo(), autocommit=True) as conn:
        for login in (NAME, GATEWAY):
            if not conn.execute("select 1 from pg_roles where rolname = %s", [login]).fetchone():
                conn.execute(sql.SQL("create role {} login").format(sql.Identifier(login)))
        schema.create_database(postgres, DATABASE)
        database, owner, gateway = map(sql.Identifier, (DATABASE, NAME, GATEWAY))
        conn.execute(sql.SQL("alter database {} owner to {}").format(database, owner))
        conn.execute(sql.SQL("revoke connect, temporary on database {} from public").format(database))
        conn.execute(sql.SQL("grant branch_bi, bi_gateway to {}").format(gateway))
        password = sql.Literal(kept["gateway_password"])
        conn.execute(sql.SQL("alter role {} password {}").format(gateway, password))


def _variables(settings: Settings, postgres: server.Server, kept: Mapping[str, str]) -> dict[str, str]:
    """The environment of Superset: what its configuration reads, and nothing that leads it to another one."""
    place = f"host={quote(str(postgres.socket_dir), safe='')}&port={postgres.port}"
    gateway = f"{GATEWAY}:{quote(kept['gateway_password'])}@127.0.0.1:{postgres.port}"
    kept_variables = {k: v for k, v in os.environ.items() if not k.startswith(("SUPERSET", "FLASK", "PYTHON", "PG"))}
    return kept_variables | {
        "SUPERSET_CONFIG_PATH": str(FOLDER / "superset_config.py"),
        "SUPERSET_HOME": str(settings.home / "superset"),
        "FLASK_APP": "superset.app:create_app()",
        "KKBC_BI_METADATA_URL": f"postgresql+psycopg2://{NAME}@/{DATABASE}?{place}",
        "KKBC_BI_WAREHOUSE_URL": f"postgresql+psycopg2://{gateway}/{WAREHOUSE}",
        "KKBC_BI_SECRET_KEY": kept["secret_key"],
        "KKBC_BI_GATEWAY_KEY_FILE": str(_key_file(settings)),
        "KKBC_BI_TICKETS": bi_tickets.__file__,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def gateway_conninfo(settings: Settings) -> str:
    """Where Superset asks the warehouse of a home; a ticket says for whom. Raises UserError when it is down."""
    postgres = server.find(settings.home)
    if postgres is None:
        raise UserError(f"no PostgreSQL runs in {settings.home}", "`kkbc bi up` starts it, and Superset with it")
    password = _secrets(settings)["gateway_password"]
    return make_conninfo(host="127.0.0.1", port=postgres.port, dbname=WAREHOUSE, user=GATEWAY, password=password)


def _command(port: int) -> list[str]:
    """One process with threads: a branch network's readers are few at a time, and each process takes 300 MB."""
    gunicorn = [str(ENVIRONMENT / "bin" / "gunicorn"), "superset.app:create_app()", "--bind", f"127.0.0.1:{port}"]
    return [*gunicorn, "--workers", "1", "--worker-class", "gthread", "--threads", "8", "--timeout", "120"]


def _prepare(
    variables: Mapping[str, str], kept: Mapping[str, str], bundle: Bundle, *, migrate: bool
) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory(prefix="kkbc-bi-") as folder:
        archive, password = Path(folder) / "kkbc.zip", Path(folder) / "admin"
        write(bundle, archive)
        write_private(password, kept["admin_password"])
        command = [str(ENVIRONMENT / "bin" / "python"), str(FOLDER / "prepare.py"), "--bundle", str(archive)]
        command += ["--admin-password-file", str(password), *(["--migrate"] if migrate else [])]
        done = subprocess.run(command, env=dict(variables), cwd="/", capture_output=True, text=True, check=False)
    last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:]
    if done.returncode:
        said = last[0] if last else "it ended without a word"
        raise UserError(f"Superset could not be prepared: {said}", "is the disk full? `make lint` checks the bundle")
    return dict(json.loads(last[0]))


def _state(bundle: Bundle) -> dict[str, str]:
    """What the metadata are made of; they are prepared again when any of it changes."""
    prepared_by = hashlib.sha256((FOLDER / "prepare.py").read_bytes()).hexdigest()
    return {"superset": _version(), "prepare": prepared_by, "bundle": digest(bundle)}


def _version() -> str:
    found = re.search(r"^apache-superset==(\S+)", (FOLDER / "requirements.lock").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def _noted(postgres: server.Server) -> dict[str, Any]:
    """What the metadata were made of last, as the comment of their database says."""
    with psycopg.connect(postgres.conninfo()) as conn:
        row = conn.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", [DATABASE]
        ).fetchone()
    return dict(json.loads(row[0])) if row and row[0] else {}


def _port(settings: Settings) -> int:
    """KKBC_BI_PORT, else that of the last start, else a free one. Raises UserError when KKBC_BI_PORT cannot be had."""
    wanted = os.environ.get("KKBC_BI_PORT", "")
    if wanted:
        if not wanted.isdecimal() or not 0 < int(wanted) < 65536 or not server.port_is_free(int(wanted)):
            raise UserError(f"KKBC_BI_PORT={wanted} is no free TCP port", "name another, or unset it")
        return int(wanted)
    path = settings.home / "run" / "superset.port"
    path.parent.mkdir(exist_ok=True)
    remembered = int(path.read_text()) if path.is_file() else None
    return remembered if remembered and server.port_is_free(remembered) else server.free_port()


def _wait(settings: Settings, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).text == "OK":
                return
        except httpx.HTTPError:
            time.sleep(0.2)
        run = settings.home / "run"
        if processes.find(NAME, run) is None:
            raise UserError(f"Superset ended at once: {processes.last_line(NAME, run)}", f"read {run}/{NAME}.log")
        if time.monotonic() > deadline:
            raise UserError(f"Superset does not answer after {READY_SECONDS} s", f"read {run}/{NAME}.log")
