"""Spool: private folders for what is under way. None outlives the process that made it for long, however that ended.

Persons are in them. A process that is killed leaves its folder behind and loses its lock on it; the next one that needs
a folder finds that and removes what was left.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings


@contextmanager
def spool_folder(name: str) -> Iterator[Path]:
    """An empty folder in the spool of the home for the length of a block, `name` being how its own name begins.

    Raises UserError when it cannot be made.
    """
    spool = private_folder(get_settings().home / "spool")
    _sweep(spool)
    folder, lock = _make(spool, name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def private_folder(path: Path) -> Path:
    """Makes a folder that only its owner may enter, for persons are in it. Raises UserError when it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {path} cannot be made: {error.strerror}", "check its owner and the disk") from error
    return path


def _make(spool: Path, name: str) -> tuple[Path, int]:
    """A new folder and the descriptor that locks it, until it is closed or the process ends."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=spool))
        except OSError as error:
            raise UserError(f"no folder can be made in {spool}: {error.strerror}", "free disk space there") from error
        lock = _lock(folder)
        if lock is not None:
            return folder, lock
        # Another process swept it away before it was locked.


def _sweep(spool: Path) -> None:
    for folder in spool.iterdir():
        lock = _lock(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Locks a folder against all other processes; None when one of them has it, or it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if not folder.is_dir():
        os.close(descriptor)
        return None
    return descriptor
