"""Taking a backup: the warehouse from one snapshot, then landing, which holds at least what that snapshot names."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
from filelock import FileLock, Timeout

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.files import close_to_others
from kkbc.core.local_airflow import metadata_uri
from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from kkbc.intake.landing import Landing
from kkbc.upkeep.backup import keys, suppression, tools, warehouse
from kkbc.upkeep.backup import landing as landed
from kkbc.upkeep.backup.landing import Progress
from kkbc.upkeep.backup.store import File, Manifest, Store
from kkbc.warehouse import connect, conninfo, locks
from kkbc.warehouse.locks import Lock

Say = Callable[[str], None]
DUMPS = ("warehouse", "airflow")


@dataclass(frozen=True)
class Taken:
    """A backup that was taken. removed: older ones that went; missing: slices whose bytes landing does not hold."""

    manifest: Manifest
    removed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def target_of(given: str | None) -> str:
    """Where backups go: the place given, else the one set. Raises UserError when neither is."""
    found = given or get_settings().backup_to
    if not found:
        raise UserError("it is not said where the backup goes", "give --to, or set KKBC_BACKUP_TO")
    return found if "://" in found else str(Path(found).expanduser().absolute())


def backup(
    to: str | None = None,
    *,
    keys_to: Path | None = None,
    keep: int | None = None,
    airflow: bool = True,
    progress: Progress = lambda done, total: None,
    say: Say = lambda line: None,
) -> Taken:
    """Takes a backup of warehouse, landing and Airflow's metadata, and brings the suppression list up to date.

    keys_to: a folder elsewhere that receives the keys. keep: how many backups are kept, None: all.
    Nights go on meanwhile: loads are not kept waiting, a build waits until the warehouse is dumped.
    Raises UserError for a target that is no place for a backup, cannot be written or is in use.
    """
    target = target_of(to)
    settings = get_settings()
    check_place(target)
    if keys_to is not None:
        keys.check_apart(keys_to, (target, str(settings.home), settings.landing))
    warehouse.check_migrated()
    began = time.monotonic()
    store = Store(target)
    with _alone(), store.writing():
        _open(store)
        store.sweep()
        name, previous = _new_name(store), store.names()[-1:]
        files: dict[str, File] = {}
        with _folder(store, name) as folder:
            standing, rows = _dump_warehouse(folder / DUMPS[0], say)
            has_airflow = airflow and _dump_airflow(folder / DUMPS[1], say)
            for dump in DUMPS[: 1 + has_airflow]:
                files |= store.keep_folder(folder / dump, name, dump)
        landing = Landing(settings.landing)
        kept, files[landed.LIST] = landed.keep(landing, store, name, _listed(store, previous), progress)
        with connect() as conn:
            missing = landed.slices_without_bytes(conn, landing, (entry.path for entry in kept.entries))
        suppression.update(store, standing.suppressed)
        if keys_to is not None:
            keys.keep(keys_to / name)
        manifest = _manifest(name, standing, rows, landing, kept, files)
        manifest = manifest.model_copy(update={"seconds": round(time.monotonic() - began, 1)})
        store.finish(manifest)
        return Taken(manifest, landed.prune(store, keep) if keep else [], missing)


def _manifest(
    name: str,
    standing: warehouse.Standing,
    rows: dict[str, int],
    landing: Landing,
    kept: landed.Kept,
    files: dict[str, File],
) -> Manifest:
    return Manifest(
        name=name,
        taken_at=f"{clock.now():%Y-%m-%dT%H:%M:%SZ}",
        seconds=0,
        project=version("kkbc"),
        schema_version=standing.schema_version,
        server_version=standing.server_version,
        owner=standing.owner,
        landing_root=landing.fs.unstrip_protocol(landing.path),
        key_fingerprint=standing.key_fingerprint,
        rows=rows,
        roles=standing.roles,
        airflow=any(file.startswith("airflow/") for file in files),
        landing_files=len(kept.entries),
        landing_bytes=sum(entry.bytes for entry in kept.entries),
        new_objects=kept.new_objects,
        new_bytes=kept.new_bytes,
        suppressed=len(standing.suppressed),
        files=files,
    )


def take_scheduled() -> dict[str, Any]:
    """Takes a backup as the settings say, for the scheduler; returns what it holds in numbers.

    Raises UserError as `backup` does, and when landing does not hold the bytes of a slice in force.
    """
    taken = backup(keep=get_settings().backups_kept, say=logging.getLogger(__name__).info)
    if taken.missing:
        shown = ", ".join(taken.missing[:5])
        raise UserError(
            f"{taken.manifest.name} is whole, but landing lacks the bytes of {len(taken.missing)} slices: {shown}",
            "restore them from an earlier backup, see docs/runbooks/back-up-and-restore.md",
        )
    return {**taken.manifest.summary(), "removed": taken.removed}


def keep_suppression(to: str | None = None) -> int:
    """Brings the suppression list beside the backups up to date, and nothing else; returns how many are on it."""
    target = target_of(to)
    check_place(target)
    store = Store(target)
    with connect() as conn:
        entries = suppression.read(conn)
    with store.writing():
        _open(store)
        return suppression.update(store, entries)


def check_place(target: str) -> None:
    """Raises UserError for a target that would be lost with what it is a backup of."""
    settings = get_settings()
    place = target.removeprefix("file://")
    if "://" in place:
        if place.rstrip("/").startswith(settings.landing):
            raise UserError(f"{target} lies in landing", "name a place of its own")
        return
    own = Path(place).expanduser().resolve()
    for tree in (settings.home, *([Path(settings.landing)] if "://" not in settings.landing else [])):
        if own.is_relative_to(tree.resolve()) or tree.resolve().is_relative_to(own):
            raise UserError(f"{own} lies in one tree with {tree}, and would be lost with it", "name another place")


def _open(store: Store) -> None:
    close_to_others()
    if store.is_local:
        Path(store.path).mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(store.path).chmod(0o700)
    else:
        store.fs.makedirs(store.path, exist_ok=True)


def _new_name(store: Store) -> str:
    """The present second, or the next one that is free."""
    while (name := f"{clock.now():%Y%m%dT%H%M%SZ}") in store.names():
        time.sleep(0.1)
    return name


def _listed(store: Store, names: list[str]) -> list[landed.Entry]:
    """What earlier backups hold of landing; a list that is damaged only costs the reading of everything."""
    with suppress(UserError):
        return [entry for name in names for entry in landed.entries(store, name)]
    return []


@contextmanager
def _alone() -> Iterator[None]:
    try:
        with FileLock(get_settings().home / ".backup.lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError("another backup of this home is being taken", "let that end") from error


@contextmanager
def _folder(store: Store, name: str) -> Iterator[Path]:
    """A local folder to dump to: that of the backup, or one in the spool where backups lie elsewhere."""
    if not store.is_local:
        with spool_folder("backup") as spool:
            yield spool
        return
    folder = Path(store.key(name))
    folder.mkdir(mode=0o700)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _dump_warehouse(folder: Path, say: Say) -> tuple[warehouse.Standing, dict[str, int]]:
    """Dumps the warehouse as it is when the lock is had: no build or publication is half done then.

    Loads go on, for they only add rows. A build that comes meanwhile waits, for it replaces tables.
    """
    wait = "a build is under way; the backup waits for its step to end"
    patience = get_settings().lock_wait_minutes * 60
    with (
        locks.locked(Lock.PUBLISH, "backup", role="publisher", wait=lambda: say(wait)),
        warehouse.snapshot() as (conn, standing),
        ThreadPoolExecutor(1) as aside,
    ):
        dump = partial(tools.dump, snapshot=standing.snapshot, wait_seconds=patience)
        dumping = aside.submit(dump, conninfo(), standing.server_version, folder)
        rows = warehouse.count(conn)
        dumping.result()
        return standing, rows


def _dump_airflow(folder: Path, say: Say) -> bool:
    """Dumps Airflow's metadata where there are any; says so when they cannot be reached."""
    uri = metadata_uri(get_settings())
    if uri is None:
        return False
    with suppress(psycopg.OperationalError):
        tools.dump(uri, tools.version_of(uri), folder, wait_seconds=60)
        return True
    say("Airflow's metadata cannot be reached, and are not in this backup")
    return False
