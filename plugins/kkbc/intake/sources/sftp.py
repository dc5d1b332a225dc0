"""Kind `sftp`: an SSH server of the branch. Its host key is known before the first visit, or there is none.

Requests are sent ahead of the answers, for the branches are far away: listing a thousand days and fetching a large
file take a few round trips, not thousands.
"""

import asyncio
import heapq
import logging
import math
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any, TypeVar, cast

import asyncssh

from kkbc.core.clock import day_of
from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.exchange.registry import Branch
from kkbc.intake.sources.bounds import MOST_DAYS, MOST_FILES, Bounds, Deadline, connect
from kkbc.intake.sources.tree import BLOCK, CONNECT_SECONDS, READ_SECONDS, FileForbidden, FileGone, Hidden, Item

# Every failure is reported by the error that it becomes; the library logs it too, with its traceback.
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)

# What every server must be able to answer at once, and what we ask for of those that say that they can answer more.
_CHUNK = 32768
_MOST_CHUNK = 1 << 18
# Asked for ahead of the answers: bytes, and requests, of which OpenSSH lets as many stand open.
_AHEAD_BYTES = 4 << 20
_REQUESTS = 64
# Half the processor time of the library's first choice, where the server knows them.
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
_KEEPALIVE_SECONDS = 30
# A server greets, agrees on keys and lets us in; for each of them it has the time of a connection.
_LOGIN_STEPS = 3
# Days whose files are listed together; with them the memory for crowded ones is bounded: of each the library holds one
# answer of four megabytes at most, and what it makes of MOST_FILES names.
_DAYS_AT_ONCE = 32
# Of a name in a listing; no valid one is longer.
_NAME_BYTES = 255
# Of host keys, in the order in which they are asked for when we know none of them.
_HOST_KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

_T = TypeVar("_T")
Listing = list[Item] | Hidden | FileGone


class SftpTree:
    """`extra.root`/{branch_id}/{YYYY-MM-DD}/ on a server. Connects at the first call. See Tree.

    The library's event loop runs in the thread of the visit, and only while something is asked for.
    """

    def __init__(
        self,
        branch: Branch,
        connection: Connection,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        deadline: Deadline | None = None,
    ) -> None:
        connection.need("host", "login", "extra.root", "extra.host_key")
        self.deadline = deadline or Bounds().deadline
        self.connection = connection
        self.connect_seconds = connect_seconds
        self.read_seconds = read_seconds
        self.root = str(connection.extra["root"])
        self.folder = f"{self.root.rstrip('/')}/{branch.branch_id}"
        self.port = connection.port or 22
        self.place = f"SFTP server {connection.host}:{self.port} of branch {branch.branch_id}"
        self.remedy = f"fix Airflow connection {connection.conn_id!r}"
        self._runner = asyncio.Runner()
        self._conn: asyncssh.SSHClientConnection | None = None
        self._opened: asyncssh.SFTPClient | None = None
        self._heard_at = 0.0

    def days(self, until: date) -> Iterator[tuple[date, list[Item] | Hidden]]:
        """See Tree. A branch without a folder has delivered nothing yet; a missing root is somebody's mistake."""
        with self._as_branch_errors():
            found = self._run(self._days(self.folder, until))
            if isinstance(found, FileGone):
                if not isinstance(self._run(self._days(self.root, until)), list):
                    raise BranchRefused(f"{self.place} has no folder {self.root} that may be read", self.remedy)
                return
            if isinstance(found, Hidden):
                raise BranchRefused(f"{self.place} does not let {self.folder} be read", self.remedy)
        for start in range(0, len(found), _DAYS_AT_ONCE):
            days = found[start : start + _DAYS_AT_ONCE]
            with self._as_branch_errors():
                listings = self._run(self._files([f"{self.folder}/{day}" for day in days]))
            for day, listing in zip(days, listings, strict=True):
                if not isinstance(listing, FileGone):
                    yield day, listing

    def read(self, day: date, name: str, most: int) -> Iterator[bytes]:
        """See Tree."""
        blocks = self._blocks(f"{self.folder}/{day}/{name}", most)
        try:
            while True:
                with self._as_branch_errors():
                    block = self._run(_next_of(blocks))
                if not block:
                    return
                yield block
        finally:
            with suppress(Exception):
                self._run(blocks.aclose())

    def close(self) -> None:
        """See Tree."""
        if self._conn is not None:
            self._conn.abort()
        self._runner.close()

    # --- the connection ---

    @property
    def _sftp(self) -> asyncssh.SFTPClient:
        if self._opened is None:
            with self._as_branch_errors():
                self._opened = self._open()
        return self._opened

    def _open(self) -> asyncssh.SFTPClient:
        known = _parse_host_keys(str(self.connection.extra["host_key"]), self.remedy)
        key = self._private_key()
        seconds = self.deadline.within(self.connect_seconds)
        sock = connect(self.connection.host, self.port, seconds)
        sock.setblocking(False)

        async def enter() -> asyncssh.SFTPClient:
            async with asyncio.timeout(self.deadline.within(_LOGIN_STEPS * self.connect_seconds).left):
                self._conn = await asyncssh.connect(
                    self.connection.host,
                    self.port,
                    sock=sock,
                    config=None,
                    known_hosts=(known, [], []),
                    server_host_key_algs=_algorithms(known),
                    encryption_algs=_CIPHERS,
                    client_factory=_Client,
                    username=self.connection.login,
                    password=self.connection.password or None,
                    client_keys=None if key is None else [key],
                    agent_path=None,
                    gss_host=None,
                    keepalive_interval=_KEEPALIVE_SECONDS,
                )
            async with asyncio.timeout(self.deadline.within(self.connect_seconds).left):
                return await self._conn.start_sftp_client()

        # Requests that are still open when a line breaks fail with it, and nobody asks them why.
        self._runner.get_loop().set_exception_handler(lambda loop, context: None)
        return self._runner.get_loop().run_until_complete(enter())

    def _private_key(self) -> asyncssh.SSHKey | None:
        extra = self.connection.extra
        passphrase = extra.get("private_key_passphrase") or None
        try:
            if text := extra.get("private_key"):
                return asyncssh.import_private_key(str(text), passphrase)
            if path := extra.get("key_file"):
                return asyncssh.read_private_key(str(path), passphrase)
        except (ValueError, TypeError, OSError) as error:
            raise BranchRefused(
                f"the private key in Airflow connection {self.connection.conn_id!r} cannot be used"
                f" ({type(error).__name__})",
                "give an OpenSSH or PEM key, with its private_key_passphrase if it has one",
            ) from None
        if not self.connection.password:
            raise BranchRefused(
                f"Airflow connection {self.connection.conn_id!r} has neither password nor private key",
                "complete the connection",
            )
        return None

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What comes of it, in the time that the visit has left, and as long as the server says something.

        Raises BranchTimeout or TimeoutError; the connection is given up then, with all that still waits for answers.
        """

        async def in_time() -> _T:
            task = asyncio.ensure_future(work)
            self._hear()
            while not task.done():
                left = min(self._heard_at + self.read_seconds - time.monotonic(), self.deadline.left)
                if left <= 0:
                    assert self._conn is not None
                    self._conn.abort()
                    task.cancel()
                    await asyncio.wait({task})
                    raise TimeoutError
                await asyncio.wait({task}, timeout=left)
            return task.result()

        try:
            _ = self._sftp
            self.deadline.check(self.place)
        except BaseException:
            work.close()
            raise
        # Not by the runner: in the main thread that writes out what comes of it, megabytes of a file, to tell signals.
        return self._runner.get_loop().run_until_complete(in_time())

    def _hear(self) -> None:
        """Notes that the server has just answered."""
        self._heard_at = time.monotonic()

    @contextmanager
    def _as_branch_errors(self) -> Iterator[None]:
        try:
            yield
        except (BranchRefused, BranchUnavailable, BranchTimeout, FileGone, FileForbidden):
            raise
        except _UnknownHostKey as error:
            raise BranchRefused(
                f"{self.place} shows the host key {error.key.get_algorithm()} {error.key.get_fingerprint()}, which is"
                f" not the one in Airflow connection {self.connection.conn_id!r}",
                "ask the branch for its host key by another way, and only if it did change put it in extra.host_key",
            ) from error
        except asyncssh.PermissionDenied as error:
            raise BranchRefused(f"{self.place} refuses the login", self.remedy) from error
        except TimeoutError as error:
            self.deadline.check(self.place)
            raise BranchTimeout(f"{self.place} does not answer in time") from error
        except Exception as error:  # of many kinds, when a server answers nonsense
            self.deadline.check(self.place)
            raise BranchUnavailable(f"{self.place} cannot be reached, or hung up ({type(error).__name__})") from error

    # --- folders and files ---

    async def _days(self, folder: str, until: date) -> list[date] | Hidden | FileGone:
        """The latest days up to `until` that have a folder in `folder`, in order, or why that cannot be known."""
        days: list[date] = []

        def keep(name: str, _: asyncssh.SFTPAttrs) -> None:
            if (day := day_of(name)) is not None and day <= until:
                (heapq.heappush if len(days) < MOST_DAYS else heapq.heappushpop)(days, day)

        listing = await self._list(folder, keep)
        return sorted(set(days)) if isinstance(listing, list) else listing

    async def _files(self, folders: list[str]) -> list[Listing]:
        """The files in each of `folders`, or why they cannot be known."""

        def keep(name: str, attrs: asyncssh.SFTPAttrs) -> Item | None:
            return Item(name, f"{attrs.size}:{attrs.mtime}") if _may_be_file(attrs) else None

        return await asyncio.gather(*(self._list(folder, keep, MOST_FILES) for folder in folders))

    async def _list(
        self, folder: str, keep: Callable[[str, asyncssh.SFTPAttrs], Item | None], most: float = math.inf
    ) -> Listing:
        """What `keep` makes of the names in a folder, of which there may be `most`."""
        items: list[Item] = []
        entries = cast(AsyncGenerator[asyncssh.SFTPName, None], self._sftp.scandir(os.fsencode(folder)))
        try:
            seen = 0
            async for entry in entries:
                self._hear()
                seen += 1
                if seen > most + 2:  # the folder itself, and that above it
                    return Hidden.CROWDED
                name = cast(bytes, entry.filename)[:_NAME_BYTES].decode(errors="surrogateescape")
                if name not in (".", "..") and (item := keep(name, entry.attrs)) is not None:
                    items.append(item)
        except asyncssh.SFTPNoSuchFile:
            return FileGone()
        except asyncssh.SFTPPermissionDenied:
            return Hidden.FORBIDDEN
        except (ValueError, asyncssh.SFTPBadMessage):
            return Hidden.GARBLED
        finally:
            # The library keeps all that it was sent until the server says that the folder is closed.
            with suppress(TimeoutError, asyncssh.Error):
                async with asyncio.timeout(0):
                    await entries.aclose()
        return items

    async def _blocks(self, path: str, most: int) -> AsyncGenerator[bytes, None]:
        """The bytes of the file `path`, up to where the server says that it ends, or to the last of `most`.

        Raises FileGone or FileForbidden for what is no file that may be read; EOFError or OSError when it breaks off.
        """
        chunk = min(max(_CHUNK, self._sftp.limits.max_read_len), _MOST_CHUNK)
        ahead = min(_REQUESTS, _AHEAD_BYTES // chunk)
        try:
            async with self._sftp.open(os.fsencode(path), "rb", block_size=chunk, max_requests=ahead) as file:
                async for block in _in_order(file, chunk, most):
                    self._hear()
                    yield block
        except asyncssh.SFTPNoSuchFile:
            raise FileGone from None
        except asyncssh.SFTPPermissionDenied:
            raise FileForbidden from None
        except asyncssh.SFTPFailure:
            # A server may open a folder like a file, and fail to read it.
            if not await self._is_file(path):
                raise FileGone from None
            raise

    async def _is_file(self, path: str) -> bool:
        try:
            return _may_be_file(await self._sftp.stat(os.fsencode(path)))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure):
            return False


async def _next_of(blocks: AsyncIterator[bytes]) -> bytes:
    """The next blocks together, of about BLOCK bytes; empty at the end."""
    content = bytearray()
    async for block in blocks:
        content += block
        if len(content) >= BLOCK:
            break
    return bytes(content)


async def _in_order(file: Any, chunk: int, most: int) -> AsyncIterator[bytes]:
    """The first `most` bytes of an open file, or all of them, in blocks of `chunk` bytes at most.

    The first one is asked for alone: of most files there is no more. Raises EOFError when what comes is not one whole.
    """
    first = min(chunk, most)
    block = await file.read(first, 0)
    if len(block) > first:
        raise EOFError("more bytes than were asked for")
    yield block
    given = len(block)
    if given < first:
        return
    ready: dict[int, bytes] = {}
    async for offset, data in await file.read_parallel(most - given, given):
        if len(data) > chunk or offset - given > 2 * _AHEAD_BYTES:
            raise EOFError("more bytes than were asked for")
        ready[offset] = data
        while given in ready:
            block = ready.pop(given)
            given += len(block)
            yield block
    if ready or given > most:
        raise EOFError("the file changed while it was read")


class _UnknownHostKey(Exception):
    """The server has none of the host keys that we know."""

    def __init__(self, key: asyncssh.SSHKey) -> None:
        self.key = key
        super().__init__("unknown host key")


class _Client(asyncssh.SSHClient):
    """Rejects every key that is not among the known ones, and says which key it was."""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """See SSHClient. Raises _UnknownHostKey."""
        raise _UnknownHostKey(key)


def _may_be_file(attrs: asyncssh.SFTPAttrs) -> bool:
    """A server need not say what something is."""
    return not attrs.permissions or stat.S_ISREG(attrs.permissions)


def _parse_host_keys(text: str, remedy: str) -> list[asyncssh.SSHKey]:
    """The keys in `text`, one a line as in a known_hosts file, with or without the names in front."""
    keys = []
    for line in filter(None, map(str.strip, text.splitlines())):
        words = line.split()
        at = next((i for i, word in enumerate(words[:-1]) if word.startswith(("ssh-", "ecdsa-"))), None)
        try:
            if at is None or words[at] == "ssh-dss":
                raise ValueError
            keys.append(asyncssh.import_public_key(" ".join(words[at : at + 2])))
        except ValueError as error:
            raise BranchRefused("extra.host_key is no host key", f"{remedy}: ssh-ed25519 AAAA...") from error
    return keys


def _algorithms(known: list[asyncssh.SSHKey]) -> list[str]:
    """What to ask of a server: the kinds of the keys that we know first, then others, so that it can show its own."""
    kinds = {key.get_algorithm() for key in known}
    return sorted(_HOST_KEY_ALGORITHMS, key=lambda name: ("ssh-rsa" if name.startswith("rsa") else name) not in kinds)
