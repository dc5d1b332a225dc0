"""Kind `file`: a folder, on a disk of this machine or mounted from elsewhere."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from kkbc.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.registry import Branch
from kkbc.sources.tree import BLOCK, FileForbidden, FileGone, Item, day_of

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class FolderTree:
    """`root`/{branch_id}/{YYYY-MM-DD}/. See Tree."""

    def __init__(self, branch: Branch, root: Path) -> None:
        self.branch_id = branch.branch_id
        self.root = root
        self.folder = root / branch.branch_id

    def days(self, until: date) -> Iterator[tuple[date, list[Item] | None]]:
        """See Tree. A branch without a folder has delivered nothing yet; a missing root is somebody's mistake."""
        with self._told():
            if not self.root.is_dir():
                raise BranchRefused(
                    f"source root {self.root} of branch {self.branch_id} is no folder",
                    "give the folder that holds KC001, KC002, ...",
                )
            try:
                names = [path.name for path in self.folder.iterdir()]
            except (FileNotFoundError, NotADirectoryError):
                return
        days = sorted(day for name in names if (day := day_of(name)) is not None and day <= until)
        for day in days:
            with self._told():
                try:
                    items = self._list(day)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except PermissionError:
                    items = None
            yield day, items

    def read(self, day: date, name: str) -> Iterator[bytes]:
        """See Tree. What is no file counts as gone, and so does a link that leads out of the branch's folder."""
        path = self.folder / day.isoformat() / name
        with self._told():
            try:
                if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.folder)):
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
            while True:
                with self._told():
                    block = os.read(descriptor, BLOCK)
                if not block:
                    return
                yield block
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """See Tree."""

    def _list(self, day: date) -> list[Item]:
        items = []
        for entry in os.scandir(self.folder / day.isoformat()):
            try:
                status = entry.stat()
            except OSError as error:
                if error.errno in _NOT_THERE:  # renamed since, or a link to nothing
                    continue
                raise
            if stat.S_ISREG(status.st_mode):
                items.append(Item(entry.name, f"{status.st_size}:{status.st_mtime_ns}"))
        return items

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A folder that is mounted from elsewhere fails like any other way in."""
        try:
            yield
        except PermissionError as error:
            problem = f"the folder of branch {self.branch_id} in {self.root} may not be read"
            raise BranchRefused(problem, "permit it to the user who runs this") from error
        except OSError as error:
            problem = f"the folder of branch {self.branch_id} in {self.root} does not answer: {error.strerror}"
            if error.errno == errno.ETIMEDOUT:
                raise BranchTimeout(problem) from error
            raise BranchUnavailable(problem) from error
