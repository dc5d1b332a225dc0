"""Disk: a reserve stays free, so that one slice that is too long leaves room for all others (Exchange rule 35)."""

import errno
import os
import re
from pathlib import Path

from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.settings import get_settings

FULL = (errno.ENOSPC, errno.EDQUOT)
# Of a small disk the reserve is a share, so that not all of it is reserve.
_SHARE = 10
# A disk of which even this part of the reserve is gone was filled by something else than the slice that comes next.
_FLOOR = 8


# How Polars tells of a file that cannot be written, and of one whose end found no room.
_SYSTEM_ERROR = re.compile(r"IO error: (.*) \(os error (\d+)\)")
_CUT_OFF = "transport error"


class NoSpace(UserError):
    """A disk of ours took no more. While a slice is taken in, that concerns the slice that filled it."""


class NotKept(SliceRejected):
    """A slice is beyond bounds. What came of its bytes goes at once, and is not landed."""

    def __init__(self, detail: str) -> None:
        super().__init__("UNREADABLE", detail)


def cause_of(error: Exception) -> tuple[str | None, int | None]:
    """What the system said of a file that cannot be written, by Python or by Polars, and the number of that error."""
    if isinstance(error, OSError):
        return error.strerror, error.errno
    if match := _SYSTEM_ERROR.search(str(error)):
        return match[1], int(match[2])
    return (os.strerror(errno.ENOSPC), errno.ENOSPC) if _CUT_OFF in str(error) else (None, None)


def room(path: Path) -> int:
    """Bytes that can be written below `path` before the reserve is touched; negative when it is."""
    free, reserve = _free_and_reserve(path)
    return free - reserve


def check_disk(path: Path, what: str) -> None:
    """Raises UserError, naming `what`, when the disk below `path` is full before anything is written to it."""
    free, reserve = _free_and_reserve(path)
    if free * _FLOOR < reserve:
        raise UserError(
            f"{what} cannot be written: No space left on device ({free:,} bytes, and {reserve:,} are to stay free)",
            "free disk space there",
        )


def make_room(path: Path, size: int) -> None:
    """Raises NotKept when `size` more bytes below `path` would eat into the reserve."""
    if size > room(path):
        _, reserve = _free_and_reserve(path)
        raise NotKept(f"NoSpace: {size:,} bytes would leave less than {reserve:,} bytes free on the disk")


def _free_and_reserve(path: Path) -> tuple[int, int]:
    there = os.statvfs(path)
    return there.f_bavail * there.f_frsize, min(get_settings().disk_reserve, there.f_blocks * there.f_frsize // _SHARE)
