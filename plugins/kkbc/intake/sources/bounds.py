"""Bounds: what one visit may take of time and bytes, whatever the branch sends (Exchange rule 35)."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread, Timer
from typing import BinaryIO

from kkbc.core.disk import NotKept, make_room
from kkbc.core.errors import BranchTimeout, SliceRejected
from kkbc.core.settings import get_settings

# Folders of days, and files of one day, that are looked at. What goes beyond is reported.
MOST_DAYS = 20_000
MOST_FILES = 10_000
# How much is written before the disk is looked at again.
_LOOK_AGAIN = 4 << 20


class Deadline:
    """The moment at which a visit, or an answer in it, has to be over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begin()

    def begin(self) -> None:
        """Counts from now on: what comes before a connection is made is no matter of the branch's."""
        self._until = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds until then, 0 when it has passed."""
        return max(0.0, self._until - time.monotonic())

    def within(self, seconds: float) -> "Deadline":
        """That moment, or the one in so many seconds when that is earlier."""
        return Deadline(min(seconds, self.left))

    def check(self, place: str) -> None:
        """Raises BranchTimeout, naming `place`, when it has passed."""
        if not self.left:
            raise BranchTimeout(f"{place}: the visit took its {self.seconds:g} s; the next one goes on from there")

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """Calls `end` from another thread when the moment comes before the block is over."""
        timer = Timer(self.left, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _visit_deadline() -> Deadline:
    return Deadline(get_settings().visit_seconds)


@dataclass(frozen=True)
class Bounds:
    """The bounds of one visit; those of the settings, from now on, unless others are given."""

    deadline: Deadline = field(default_factory=_visit_deadline)
    slice_bytes: int = field(default_factory=lambda: get_settings().slice_bytes)

    def check_announced(self, size: int) -> None:
        """Raises SliceRejected for a slice that says itself that it is beyond bounds: nothing of it is fetched."""
        if size > self.slice_bytes:
            raise SliceRejected("UNREADABLE", f"the manifest says {size} bytes, a slice may have {self.slice_bytes}")

    @contextmanager
    def writing(self, target: Path, most: int | None = None) -> Iterator["BoundedFile"]:
        """The file `target`, to be written within bounds, or within `most` bytes."""
        with target.open("wb") as file:
            yield BoundedFile(file, target.parent, self.slice_bytes if most is None else most)


class BoundedFile:
    """A file that grows no further than a slice may, and leaves the disk its reserve."""

    def __init__(self, file: BinaryIO, folder: Path, most: int) -> None:
        self._file = file
        self._folder = folder
        self._most = most
        self._size = self._looked_at = 0

    def write(self, block: bytes) -> None:
        """Adds a block. Raises NotKept where the slice is too long or the disk too full."""
        if self._size + len(block) > self._most:
            raise NotKept(f"it goes on after {self._most} bytes, which is what a slice may have")
        self._file.write(block)
        self._size += len(block)
        if self._size - self._looked_at > _LOOK_AGAIN:
            self._looked_at = self._size
            make_room(self._folder, 0)


def addresses(host: str, port: int, deadline: Deadline) -> list[str]:
    """The addresses of a host.

    Raises OSError for a name that nobody knows, TimeoutError when the resolver, which nothing can interrupt, takes too
    long: it is left to itself then.
    """
    answers: SimpleQueue[list[str] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            answers.put(OSError("no name of a host"))

    Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left)
    except Empty:
        raise TimeoutError("the resolver does not answer") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address of a host that takes one. Raises OSError or TimeoutError, all in time."""
    failure: OSError = OSError("no address")
    for address in addresses(host, port, deadline):
        try:
            return socket.create_connection((address, port), max(deadline.left, 0.001))
        except OSError as error:
            failure = error
    raise failure
