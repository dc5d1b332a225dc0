"""Kind `file`: a folder, on a disk of this machine or mounted from elsewhere."""

import errno
import heapq
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from kkbc.core.clock import day_of
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.exchange.registry import Branch
from kkbc.intake.sources.bounds import MOST_DAYS, MOST_FILES, Bounds, Deadline
from kkbc.intake.sources.tree import BLOCK, FileForbidden, FileGone, Hidden, Item

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class FolderTree:
    """`root`/{branch_id}/{YYYY-MM-DD}/. See Tree.

    The deadline is looked at between two calls of the system: a mount that hangs in one of them cannot be interrupted.
    """

    def __init__(self, branch: Branch, root: Path, deadline: Deadline | None = None) -> None:
        self.deadline = deadline or Bounds().deadline
        self.branch_id = branch.branch_id
        self.root = root
        self.folder = root / branch.branch_id
        self.place = f"the folder of branch {branch.branch_id} in {root}"

    def days(self, until: date) -> Iterator[tuple[date, list[Item] | Hidden]]:
        """See Tree. A branch without a folder has delivered nothing yet; a missing root is somebody's mistake."""
        with self._as_branch_errors():
            if not self.root.is_dir():
                raise BranchRefused(
                    f"source root {self.root} of branch {self.branch_id} is no folder",
                    "give the folder that holds KC001, KC002, ...",
                )
            try:
                with os.scandir(self.folder) as entries:
                    found = (day for entry in self._in_time(entries) if (day := day_of(entry.name)) is not None)
                    days = heapq.nlargest(MOST_DAYS, (day for day in found if day <= until))
            except (FileNotFoundError, NotADirectoryError):
                return
        for day in reversed(days):
            items: list[Item] | Hidden
            with self._as_branch_errors():
                try:
                    items = self._list(day)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except PermissionError:
                    items = Hidden.FORBIDDEN
            yield day, items

    def read(self, day: date, name: str, most: int) -> Iterator[bytes]:
        """See Tree. What is no file counts as gone, and so does a link that leads out of the delivery's folder."""
        folder = self.folder / day.isoformat()
        path = folder / name
        with self._as_branch_errors():
            try:
                real = Path(os.path.realpath(path))
                if not all(real.is_relative_to(os.path.realpath(place)) for place in (folder, self.folder)):
                    raise FileGone
                # Opening a pipe that nobody writes to would wait for ever.
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            except PermissionError as error:
                raise FileForbidden from error
            except OSError as error:
                if error.errno in _NOT_THERE:
                    raise FileGone from error
                raise
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileGone
            while most:
                self.deadline.check(self.place)
                with self._as_branch_errors():
                    block = os.read(descriptor, min(BLOCK, most))
                if not block:
                    return
                most -= len(block)
                yield block
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """See Tree."""

    def _list(self, day: date) -> list[Item] | Hidden:
        items: list[Item] = []
        with os.scandir(self.folder / day.isoformat()) as entries:
            for looked_at, entry in enumerate(self._in_time(entries)):
                if looked_at == MOST_FILES:
                    return Hidden.CROWDED
                try:
                    status = entry.stat()
                except OSError as error:
                    if error.errno in _NOT_THERE:  # renamed since, or a link to nothing
                        continue
                    raise
                if stat.S_ISREG(status.st_mode):
                    items.append(Item(entry.name, f"{status.st_size}:{status.st_mtime_ns}"))
        return items

    def _in_time(self, entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for number, entry in enumerate(entries):
            if number % 1000 == 0:
                self.deadline.check(self.place)
            yield entry

    @contextmanager
    def _as_branch_errors(self) -> Iterator[None]:
        """A folder that is mounted from elsewhere fails like any other way in."""
        try:
            yield
        except BranchTimeout:
            raise
        except PermissionError as error:
            problem = f"{self.place} may not be read"
            raise BranchRefused(problem, "permit it to the user who runs this") from error
        except OSError as error:
            problem = f"{self.place} does not answer: {error.strerror}"
            if error.errno == errno.ETIMEDOUT:
                raise BranchTimeout(problem) from error
            raise BranchUnavailable(problem) from error
