"""The home folder of an installation: made so that nobody else can look into it, and closed where an older one is open.

Where root lends PostgreSQL a user of its own, that user's group may walk through the folders above the server's data,
and no more (kkbc.warehouse.server); all else is the owner's alone.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.files import close_to_others

OTHERS = stat.S_IRWXG | stat.S_IRWXO
# What is made in a home, besides its locks. Somebody may have put other things next to it, which are not ours to close.
PARTS = (
    "airflow",
    "dbt",
    "docs",
    "erasures",
    "gx",
    "keys",
    "landing",
    "lineage",
    "pg",
    "reports",
    "requests",
    "run",
    "socket",
    "spool",
    "subject-reports",
    "superset",
    "world",
)

# Lies in a home while a backup is restored into it.
RESTORING = ".restoring"


def make_home(home: Path, *, restoring: bool = False) -> None:
    """Makes the home, or closes one that an earlier version left open to other users, with all that is in it.

    What this process makes from now on is closed from the start. Raises OSError when the home cannot be made, and
    UserError for one that holds half of a backup, unless that is being restored.
    """
    if not restoring and (home / RESTORING).exists():
        raise UserError(f"the restore of a backup into {home} did not end", "do it again: `kkbc restore`")
    close_to_others()
    home.mkdir(parents=True, exist_ok=True)
    # Each part after all that is in it: one that was closed half way is found open, and gone through, the next time.
    for path in [*open_to_others(home)][::-1]:
        with suppress(PermissionError):  # another user's: the doctor names it
            _close(path)


def open_to_others(home: Path) -> Iterator[Path]:
    """What of the home other users could read, list or enter, each folder before what is in it.

    A part that is closed is not looked into, for nobody can get to what is in it. Links count for nothing.
    """
    if _is_open(home):
        yield home
    for part in (home / name for name in PARTS):
        if _is_open(part):
            yield part
            yield from _below(part)


def _below(folder: Path) -> Iterator[Path]:
    for item in _items(folder):
        if _is_open(item):
            yield item
        yield from _below(item)


def _items(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    try:
        return sorted(folder.iterdir())
    except PermissionError:
        return []


def _is_open(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return not stat.S_ISLNK(found.st_mode) and bool(found.st_mode & OTHERS) and not _lent(found)


def _lent(found: os.stat_result) -> bool:
    """Whether it is a folder that PostgreSQL's group may walk through, and nothing else of it is open."""
    return stat.S_ISDIR(found.st_mode) and found.st_mode & OTHERS == stat.S_IXGRP and found.st_gid != os.getegid()


def _close(path: Path) -> None:
    with suppress(FileNotFoundError):
        found = path.lstat()
        group = _lodger(path)
        if group is None:
            path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
            return
        # The group before the mode: a server that runs must not find the way to its data shut for a moment.
        if found.st_gid != group:
            os.chown(path, -1, group)
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS | stat.S_IXGRP)


def _lodger(folder: Path) -> int | None:
    """The group of another user that has a folder in this one, or is lent the way to one; None where there is none."""
    for item in _items(folder):
        with suppress(FileNotFoundError):
            found = item.lstat()
            if stat.S_ISDIR(found.st_mode) and (found.st_uid != os.geteuid() or _lent(found)):
                return found.st_gid
    return None
