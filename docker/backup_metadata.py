"""Dumps of what the DAG `backup` cannot reach: the metadata of Airflow and of Superset, once a day.

    python backup_metadata.py watch            # the service: one of each a day, the newest KEPT stay
    python backup_metadata.py now              # one of each at once
    python backup_metadata.py restore airflow DATABASE   # the newest one into another, empty database of the server

They go into the folder `metadata/` of KKBC_BACKUP_TO. A worker has no login of these databases, and this service has
none of the warehouse.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfileobj
from tempfile import NamedTemporaryFile
from types import FrameType

import psycopg
from psycopg.conninfo import make_conninfo

from kkbc.core.errors import UserError
from kkbc.upkeep.backup import tools
from kkbc.upkeep.backup.store import Store

DATABASES = {"airflow": "METADATA_OF_AIRFLOW", "superset": "METADATA_OF_SUPERSET"}
KEPT = 14
EVERY = timedelta(hours=24)
RETRY_SECONDS = 600
PLACE = "metadata"
STAMP = "%Y%m%dT%H%M%SZ"
FAILURES = (UserError, psycopg.Error, OSError)
ALIVE = Path("/tmp/metadata-backed-up")  # noqa: S108
"""Its time is that of the last look that found all in order: what the health check asks."""


def main(arguments: list[str]) -> None:
    """Exit status 1 when a dump cannot be made, written or restored, and 2 for other arguments."""
    signal.signal(signal.SIGTERM, _leave)
    match arguments:
        case ["watch"]:
            watch()
        case ["now"]:
            _or_exit(lambda: [print(dump(name)) for name in DATABASES])
        case ["restore", name, database] if name in DATABASES:
            _or_exit(lambda: print(restore(name, database)))
        case _:
            print(__doc__, file=sys.stderr)
            sys.exit(2)


def watch() -> None:
    """Dumps whatever has no dump of the last day, for ever. A failure is said, and tried again after ten minutes."""
    while True:
        try:
            if os.environ.get("KKBC_BACKUP_TO"):
                for name in DATABASES:
                    if is_due(name, datetime.now(UTC)):
                        print(dump(name), flush=True)
            ALIVE.touch()
        except FAILURES as error:
            print(f"backup of metadata: {error}", file=sys.stderr, flush=True)
        time.sleep(RETRY_SECONDS)


def is_due(name: str, now: datetime) -> bool:
    """Whether the newest dump is older than a day, or there is none."""
    found = dumps(name)
    return not found or now - datetime.strptime(_stamp(found[-1]), STAMP).replace(tzinfo=UTC) >= EVERY


def dumps(name: str) -> list[str]:
    """The paths of the dumps of a database, oldest first."""
    store = _store()
    return sorted(str(path) for path in store.fs.glob(store.key(PLACE, f"{name}-*.dump")))


def dump(name: str) -> str:
    """Dumps a database, whole or not at all, and removes what is more than KEPT; returns a line about it."""
    store, conninfo = _store(), _conninfo(name)
    with NamedTemporaryFile() as local:
        tool = tools.find("pg_dump", tools.version_of(conninfo))
        tools.run(
            [tool, "--format", "custom", "--no-owner", "--no-privileges", "--file", local.name],
            conninfo,
            "pg_dump failed",
        )
        path = store.key(PLACE, f"{name}-{datetime.now(UTC):{STAMP}}.dump")
        with store.new_file(path) as target:
            copyfileobj(local, target)
        size = Path(local.name).stat().st_size
    for old in dumps(name)[:-KEPT]:
        store.fs.rm_file(old)
    return f"{path}: {size} bytes"


def restore(name: str, database: str) -> str:
    """Restores the newest dump into an empty database of the same server and login; returns the path of the dump."""
    found = dumps(name)
    if not found:
        raise UserError(f"there is no dump of {name} in {_store().key(PLACE)}", "take one first")
    conninfo = make_conninfo(_conninfo(name), dbname=database)
    with NamedTemporaryFile() as local:
        with _store().fs.open(found[-1], "rb") as source:
            copyfileobj(source, local)
        local.flush()
        tool = tools.find("pg_restore", tools.version_of(conninfo))
        tools.run(
            [tool, "--exit-on-error", "--single-transaction", "--no-owner", local.name], conninfo, "pg_restore failed"
        )
    return found[-1]


def _store() -> Store:
    target = os.environ.get("KKBC_BACKUP_TO")
    if not target:
        raise UserError("KKBC_BACKUP_TO is empty: there are no backups", "set it in production.env")
    return Store(target)


def _conninfo(name: str) -> str:
    return os.environ[DATABASES[name]]


def _stamp(path: str) -> str:
    return path.rsplit("-", 1)[1].removesuffix(".dump")


def _or_exit(work: Callable[[], object]) -> None:
    try:
        work()
    except FAILURES as error:
        sys.exit(f"backup of metadata: {error}")


def _leave(*_: int | FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
