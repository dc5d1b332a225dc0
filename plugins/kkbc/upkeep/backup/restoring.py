"""Restoring a backup into an empty home, or an empty database of one's own server.

A mark in the home says that a restore is under way: no night runs in such a home, and the next restore begins anew.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import psutil
import psycopg
from psycopg import sql

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.home import RESTORING, make_home
from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from kkbc.intake.landing import Landing
from kkbc.nights.prepare import prepare
from kkbc.upkeep.backup import keys, suppression, tools, warehouse
from kkbc.upkeep.backup import landing as landed
from kkbc.upkeep.backup.landing import Progress
from kkbc.upkeep.backup.store import Manifest, Store
from kkbc.upkeep.backup.taking import Say, check_place
from kkbc.warehouse import connect, conninfo, kept, schema, server
from kkbc.warehouse.connection import DATABASE

AIRFLOW = "airflow"
# What may lie in a home that counts as empty: locks of commands that looked in, and what is made again.
_NOTHING = ("cache", "spool", RESTORING)


@dataclass
class Restored:
    """A backup that was restored."""

    manifest: Manifest
    moved_aside: Path | None = None
    logins: list[str] = field(default_factory=list)
    """Logins that were made, without a password."""
    erased: int = 0
    """Persons of the suppression list who were erased again."""
    to_erase: int = 0
    """Persons of the suppression list who are in the warehouse and still have to be erased."""
    missing: list[str] = field(default_factory=list)
    """Slices whose bytes landing does not hold."""


def restore(
    place: str,
    name: str | None = None,
    *,
    keys_from: Path | None = None,
    replace: bool = False,
    landing_in_place: bool = False,
    suppressed: Path | None = None,
    airflow: bool = True,
    progress: Progress = lambda done, total: None,
    say: Say = lambda line: None,
) -> Restored:
    """Makes warehouse, landing and Airflow's metadata what they were when a backup was taken, by default the latest.

    replace: moves the home that is there aside. landing_in_place: landing was not lost, and is only looked through.
    suppressed: a suppression list newer than the one beside the backups.
    Raises UserError, having changed nothing, for a home or database that is not empty or is running, a damaged backup,
    and keys that are not those of the backup; and for what goes wrong later, after which it can be done again.
    """
    check_place(place)
    store = Store(place if "://" in place else str(Path(place).expanduser().absolute()))
    name = name or store.latest()
    manifest, entries = check(store, name)
    listed = suppression.load_file(suppressed) if suppressed else suppression.load(store) or []
    settings = get_settings()
    if not settings.pii_key_connection:
        keys.check(keys_from or settings.keys, manifest.key_fingerprint)
    result = Restored(manifest, moved_aside=_make_way(replace=replace, landing_in_place=landing_in_place))
    if keys_from is None and result.moved_aside is not None:
        keys_from = result.moved_aside / settings.keys.relative_to(settings.home)
    with _under_way(settings.home):
        if keys_from is not None:
            keys.bring_back(keys_from)
        if not landing_in_place:
            say("landing")
            landed.bring_back(store, entries, Landing(settings.landing), progress)
        say("warehouse")
        _load(store, manifest, result, airflow=airflow)
        _finish(listed, result)
    prepare()
    if not settings.database_url:
        result.logins = [login for login in result.logins if login != "bi"]  # whose password came with the keys
    return result


def check(store: Store, name: str) -> tuple[Manifest, list[landed.Entry]]:
    """What a backup holds. Raises UserError naming the file of it that is damaged or missing, but for contents."""
    manifest = store.manifest(name)
    for file, expected in manifest.files.items():
        store.check_file(name, file, expected)
    return manifest, landed.entries(store, name)


def verify(store: Store, name: str, progress: Progress) -> list[str]:
    """Reads all of a backup; returns the paths of what is damaged or missing."""
    try:
        _, entries = check(store, name)
    except UserError as error:
        return [error.problem]
    stored = landed.check_objects(store, entries, progress)
    return [f"{path} is damaged or missing" for path in stored]


def _make_way(*, replace: bool, landing_in_place: bool) -> Path | None:
    """Sees to it that there is room for a warehouse; returns the home that was moved aside, if any."""
    settings = get_settings()
    home, moved = settings.home, None
    again = (home / RESTORING).exists()
    if running := sorted(_running(home)):
        if again and running == ["postgres"]:
            server.stop(home)
        else:
            raise UserError(f"in {home} there is running: {', '.join(running)}", "`make down` stops it")
    held = [] if again or settings.database_url else _held(home)
    if held and not replace:
        raise UserError(f"the home {home} is not empty: {', '.join(held[:5])}", "set another KKBC_HOME, or --replace")
    fs, landing = fsspec.core.url_to_fs(settings.landing)
    goes_along = bool(held) and Path(landing).is_relative_to(home)
    if not (again or landing_in_place or goes_along) and fs.find(landing):
        raise UserError(f"landing {settings.landing} is not empty", "empty it, or keep it by --landing-in-place")
    if settings.database_url and not warehouse.is_empty():
        raise UserError(
            "the database of KKBC_DATABASE_URL is not empty",
            "name an empty one; drop what an interrupted restore loaded",
        )
    if again and not settings.database_url:
        shutil.rmtree(home / "pg", ignore_errors=True)
    elif held:
        moved = home.with_name(f"{home.name}.replaced-{clock.now():%Y%m%dT%H%M%SZ}")
        home.rename(moved)
    make_home(home, restoring=True)
    return moved


def _held(home: Path) -> list[str]:
    if not home.is_dir():
        return []
    return sorted(path.name for path in home.iterdir() if path.name not in _NOTHING and not path.name.endswith(".lock"))


def _running(home: Path) -> Iterator[str]:
    """The server of the home, and the processes of the local stack by their pid files."""
    if server.find(home) is not None:
        yield "postgres"
    for path in (home / "run").glob("*.pid"):
        try:
            pid, started = path.read_text().split()
            if psutil.Process(int(pid)).create_time() == float(started):
                yield path.stem
        except (ValueError, psutil.NoSuchProcess):
            continue


@contextmanager
def _under_way(home: Path) -> Iterator[None]:
    """Marks the home for the length of a block; the mark stays when the block does not end well."""
    mark = home / RESTORING
    mark.touch(mode=0o600)
    yield
    mark.unlink()


def _load(store: Store, manifest: Manifest, result: Restored, *, airflow: bool) -> None:
    settings = get_settings()
    running = None
    if not settings.database_url:
        running = server.start(settings.home)
        schema.create_database(running, DATABASE)
    result.logins = warehouse.make_ready(manifest.roles, manifest.owner)
    with _local(store, manifest, "warehouse") as folder:
        tools.load(conninfo(), _version(), folder, at_once=bool(settings.database_url))
    landing = Landing(settings.landing)
    warehouse.finish(manifest.rows, manifest.landing_root, landing.fs.unstrip_protocol(landing.path))
    if manifest.airflow and airflow and running is not None:
        with psycopg.connect(running.conninfo(), autocommit=True) as conn:
            conn.execute(sql.SQL("create role {} login").format(sql.Identifier(AIRFLOW)))
            conn.execute(sql.SQL("create database {0} owner {0}").format(sql.Identifier(AIRFLOW)))
        with _local(store, manifest, "airflow") as folder:
            tools.load(running.conninfo(AIRFLOW), _version(), folder, at_once=False)


def _finish(listed: list[suppression.Entry], result: Restored) -> None:
    """What is done once all is there: the newest schema, the key, those who were erased, a look through landing."""
    schema.migrate()
    with connect("loader") as conn:
        kept.check_key(conn)
        conn.rollback()
    _erase_again(listed, result)
    landing = Landing(get_settings().landing)
    with connect() as conn:
        result.missing = landed.slices_without_bytes(conn, landing, landed.present(landing))


def _erase_again(listed: list[suppression.Entry], result: Restored) -> None:
    with connect() as conn:
        wanted = suppression.outstanding(listed, suppression.read(conn))
    result.erased = suppression.apply_suppression(wanted) if wanted else 0
    result.to_erase = len(wanted) - result.erased


def _version() -> int:
    with connect() as conn:
        return conn.info.server_version


@contextmanager
def _local(store: Store, manifest: Manifest, dump: str) -> Iterator[Path]:
    """A local folder with a dump of the backup."""
    if store.is_local:
        yield Path(store.key(manifest.name, dump))
        return
    with spool_folder("restore") as spool:
        for file in manifest.files:
            if file.startswith(f"{dump}/"):
                target = spool / file
                target.parent.mkdir(parents=True, exist_ok=True)
                store.fs.get_file(store.key(manifest.name, file), str(target))
        yield spool / dump
