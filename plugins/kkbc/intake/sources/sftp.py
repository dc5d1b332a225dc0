"""Kind `sftp`: an SSH server of the branch. Its host key is known before the first visit, or there is none.

Requests are sent ahead of the answers, for the branches are far away: listing a thousand days and fetching a large
file take a few round trips, not thousands.
"""

import base64
import heapq
import io
import logging
import socket
import stat
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from typing import Any, NamedTuple, TypeVar

import paramiko
from paramiko import sftp

from kkbc.core.clock import day_of
from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.exchange.registry import Branch
from kkbc.intake.sources.bounds import MOST_DAYS, MOST_FILES, Bounds, Deadline, connect
from kkbc.intake.sources.tree import CONNECT_SECONDS, READ_SECONDS, FileForbidden, FileGone, Hidden, Item

# Every failure is told by the error that it becomes; the library logs it too, with its traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

# What every server must be able to answer at once, and the number of requests that OpenSSH lets stand open.
_CHUNK = 32768
_REQUESTS = 64
_KEEPALIVE_SECONDS = 30
# Days whose files are listed together; with them the memory for crowded ones is bounded.
_DAYS_AT_ONCE = 64
# No packet of SSH is as long, nor as much sent without having been asked for: what is, fills the memory.
_PACKET_BYTES = 1 << 20
_BACKLOG_BYTES = 16 << 20
# Of a name in a listing; no lawful one is longer.
_NAME_BYTES = 255
_FIELDS = (
    (paramiko.SFTPAttributes.FLAG_SIZE, ">Q", ("size",)),
    (paramiko.SFTPAttributes.FLAG_UIDGID, ">II", ("user", "group")),
    (paramiko.SFTPAttributes.FLAG_PERMISSIONS, ">I", ("mode",)),
    (paramiko.SFTPAttributes.FLAG_AMTIME, ">II", ("read_at", "changed_at")),
)


_T = TypeVar("_T")


class _Named(NamedTuple):
    """A name in a folder, and what the server says of it, which need not be anything."""

    name: str
    size: int | None
    mode: int | None
    changed_at: int | None


Keep = Callable[[_Named], Item | None]
Listing = list[Item] | Hidden | FileGone


class SftpTree:
    """`extra.root`/{branch_id}/{YYYY-MM-DD}/ on a server. Connects at the first call. See Tree."""

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
        self.mend = f"mend Airflow connection {connection.conn_id!r}"
        self._client: paramiko.SSHClient | None = None
        self._opened: _Pipeline | None = None
        self._open_until_closed = ExitStack()

    def days(self, until: date) -> Iterator[tuple[date, list[Item] | Hidden]]:
        """See Tree. A branch without a folder has delivered nothing yet; a missing root is somebody's mistake."""
        with self._told():
            found = self._sftp.days(self.folder, until)
            if isinstance(found, FileGone):
                if not isinstance(self._sftp.days(self.root, until), list):
                    raise BranchRefused(f"{self.place} has no folder {self.root} that may be read", self.mend)
                return
            if isinstance(found, Hidden):
                raise BranchRefused(f"{self.place} does not let {self.folder} be read", self.mend)
        for start in range(0, len(found), _DAYS_AT_ONCE):
            days = found[start : start + _DAYS_AT_ONCE]
            with self._told():
                listings = self._sftp.files([f"{self.folder}/{day}" for day in days])
            for day, listing in zip(days, listings, strict=True):
                if not isinstance(listing, FileGone):
                    yield day, listing

    def read(self, day: date, name: str, most: int) -> Iterator[bytes]:
        """See Tree."""
        blocks = self._sftp.read_all(f"{self.folder}/{day}/{name}", most)
        while True:
            self.deadline.check(self.place)
            with self._told():
                block = next(blocks, b"")
            if not block:
                return
            yield block

    def close(self) -> None:
        """See Tree."""
        self._open_until_closed.close()
        if self._client is not None:
            self._client.close()

    @property
    def _sftp(self) -> "_Pipeline":
        if self._opened is None:
            with self._told():
                self._opened = self._open()
        return self._opened

    def _open(self) -> "_Pipeline":
        extra = self.connection.extra
        client = self._client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_Reject)
        name = self.connection.host if self.port == 22 else f"[{self.connection.host}]:{self.port}"
        for key in _host_keys(str(extra["host_key"]), self.mend):
            client.get_host_keys().add(name, key.get_name(), key)
        # Whatever the server does from here on, at the end of the visit's time nobody waits for it any more.
        self._open_until_closed.enter_context(self.deadline.ending(client.close))
        connect_seconds = max(self.deadline.within(self.connect_seconds).left, 0.001)
        client.connect(
            self.connection.host,
            self.port,
            sock=connect(self.connection.host, self.port, Deadline(connect_seconds)),
            transport_factory=_transport,
            username=self.connection.login,
            password=self.connection.password or None,
            pkey=self._private_key(),
            timeout=connect_seconds,
            banner_timeout=connect_seconds,
            auth_timeout=connect_seconds,
            channel_timeout=connect_seconds,
            allow_agent=False,
            look_for_keys=False,
        )
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_SECONDS)
        channel = transport.open_session(timeout=connect_seconds)
        channel.settimeout(self.read_seconds)
        transport.packetizer.backlog = lambda: len(channel.in_buffer) + len(channel.in_stderr_buffer)
        # The library waits for this one answer without an end, or until somebody hangs up.
        with Deadline(connect_seconds).ending(client.close):
            channel.invoke_subsystem("sftp")
            return _Pipeline(channel)

    def _private_key(self) -> paramiko.PKey | None:
        extra = self.connection.extra
        password = extra.get("private_key_passphrase") or None
        try:
            if text := extra.get("private_key"):
                return _parse_private_key(str(text), password)
            if path := extra.get("key_file"):
                return paramiko.PKey.from_path(str(path), password.encode() if password else None)
        except (paramiko.SSHException, paramiko.UnknownKeyType, ValueError, TypeError, OSError) as error:
            raise BranchRefused(
                f"the private key in Airflow connection {self.connection.conn_id!r} cannot be used"
                f" ({type(error).__name__})",
                "give an OpenSSH or PEM key that paramiko knows, with its private_key_passphrase if it has one",
            ) from None
        if not self.connection.password:
            raise BranchRefused(
                f"Airflow connection {self.connection.conn_id!r} has neither password nor private key",
                "complete the connection",
            )
        return None

    @contextmanager
    def _told(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except (BranchRefused, BranchUnavailable, BranchTimeout, FileGone, FileForbidden):
            raise
        except (paramiko.BadHostKeyException, _UnknownHostKey) as error:
            raise BranchRefused(
                f"{self.place} shows the host key {error.key.get_name()} {error.key.fingerprint}, which is not the one"
                f" in Airflow connection {self.connection.conn_id!r}",
                "ask the branch for its host key by another way, and only if it did change put it in extra.host_key",
            ) from error
        except TimeoutError as error:
            raise BranchTimeout(f"{self.place} does not answer in time") from error
        except Exception as error:  # of many kinds, when a server answers nonsense
            self.deadline.check(self.place)
            # While it connects the library tells a time-out by the words of its errors, or not at all.
            if self._opened is None and time.monotonic() - began >= self.connect_seconds:
                raise BranchTimeout(f"{self.place} does not answer in time") from error
            transport = self._client.get_transport() if self._client is not None else None
            if isinstance(error, paramiko.AuthenticationException) and transport is not None and transport.is_active():
                raise BranchRefused(f"{self.place} refuses the login", self.mend) from error
            raise BranchUnavailable(f"{self.place} cannot be reached, or hung up ({type(error).__name__})") from error


class _Pipeline(paramiko.SFTPClient):  # type: ignore[misc]
    """An SFTP session that sends requests ahead of the answers. Reads only, in one thread."""

    def days(self, folder: str, until: date) -> list[date] | Hidden | FileGone:
        """The latest days up to `until` that have a folder in `folder`, in order, or why that cannot be told."""
        days: list[date] = []

        def keep(folder: _Named) -> None:
            if (day := day_of(folder.name)) is not None and day <= until:
                (heapq.heappush if len(days) < MOST_DAYS else heapq.heappushpop)(days, day)

        (listing,) = self._list_all([folder], keep)
        return sorted(set(days)) if isinstance(listing, list) else listing

    def files(self, folders: Sequence[str]) -> list[Listing]:
        """The files in each of `folders`, or why they cannot be told."""
        return self._list_all(
            folders, lambda file: Item(file.name, f"{file.size}:{file.changed_at}") if _is_file(file.mode) else None
        )

    def _list_all(self, paths: Sequence[str], keep: Keep) -> list[Listing]:
        """What `keep` makes of the names in each of the folders `paths`, of MOST_FILES at most."""
        found: dict[str, Listing] = {}
        handles: dict[str, bytes] = {}
        waiting: dict[int, str] = {}
        ahead = deque(paths)
        while ahead or waiting:
            while ahead and len(waiting) < _REQUESTS:
                path = ahead.popleft()
                waiting[self._ask(sftp.CMD_OPENDIR, path)] = path
            path, kind, answer = self._next_of(waiting)
            match kind:
                case sftp.CMD_HANDLE if path not in handles:
                    handles[path], found[path] = answer.get_binary(), []
                case sftp.CMD_NAME if path in handles:
                    found[path] = listing = _longer(found[path], keep, answer.get_remainder())
                    if isinstance(listing, Hidden):
                        self._ask(sftp.CMD_CLOSE, handles[path])
                        continue
                case sftp.CMD_STATUS:
                    if path in handles:
                        self._ask(sftp.CMD_CLOSE, handles[path])
                    if (refusal := _refusal(answer)) is not None:
                        found[path] = Hidden.FORBIDDEN if isinstance(refusal, FileForbidden) else refusal
                    found.setdefault(path, FileGone())
                    continue
                case _:
                    raise paramiko.SFTPError("an answer to something else")
            waiting[self._ask(sftp.CMD_READDIR, handles[path])] = path
        return [found[path] for path in paths]

    def read_all(self, path: str, most: int) -> Iterator[bytes]:
        """The bytes of the file `path`, up to where the server says that it ends, or to the last of `most`.

        Raises FileGone or FileForbidden for what is no file that may be read; EOFError or OSError when it breaks off.
        """
        opening = self._ask(sftp.CMD_OPEN, path, sftp.SFTP_FLAG_READ, paramiko.SFTPAttributes())
        try:
            _, kind, answer = self._next_of({opening: path})
            if kind != sftp.CMD_HANDLE:
                raise _refusal(answer) or FileGone()
            handle = answer.get_binary()
            try:
                yield from self._blocks(handle, most)
            finally:
                with suppress(OSError, EOFError):
                    self._ask(sftp.CMD_CLOSE, handle)
        except _Failure:
            # A server may open a folder like a file, and fail to read it.
            number = self._ask(sftp.CMD_STAT, path)
            _, kind, answer = self._next_of({number: path})
            if kind != sftp.CMD_ATTRS or not _is_file(_attributes(answer.get_remainder(), 0)[0].mode):
                raise FileGone from None
            raise

    def _blocks(self, handle: bytes, most: int) -> Iterator[bytes]:
        """What lies behind `handle`; no more than `most` bytes of it are asked for.

        The more full blocks came, the more are asked for ahead of the answers.
        """
        waiting: dict[int, tuple[int, int]] = {}
        ready: dict[int, bytes] = {}
        asked = given = 0
        end: int | None = None
        window = 2
        while True:
            while end is None and asked < most and len(waiting) + len(ready) < window:
                chunk = min(_CHUNK, most - asked)
                waiting[self._ask(sftp.CMD_READ, handle, sftp.int64(asked), chunk)] = asked, chunk
                asked += chunk
            if not waiting:
                break
            (offset, length), kind, answer = self._next_of(waiting)
            data = answer.get_binary() if kind == sftp.CMD_DATA else b""
            if kind != sftp.CMD_DATA and (refusal := _refusal(answer)) is not None:
                raise refusal
            if len(data) > length:
                raise paramiko.SFTPError("more bytes than were asked for")
            if not data:
                end = offset if end is None else min(end, offset)
                continue
            ready[offset] = data
            if len(data) < length:  # lawful; whether it is the end is still to be asked
                rest = offset + len(data), length - len(data)
                waiting[self._ask(sftp.CMD_READ, handle, sftp.int64(rest[0]), rest[1])] = rest
            else:
                window = min(window + 1, _REQUESTS)
            while given in ready:
                block = ready.pop(given)
                given += len(block)
                yield block
        if given != (most if end is None else end):
            raise EOFError("the file changed while it was read")

    def _ask(self, kind: int, *arguments: Any) -> int:
        number = self._async_request(type(None), kind, *arguments)
        # The library would keep a note of each answer that is due; here the asker does.
        self._expecting.pop(number, None)
        return int(number)

    def _next_of(self, waiting: dict[int, _T]) -> tuple[_T, int, paramiko.Message]:
        """The next answer to one of the requests `waiting`, and what was noted of it there."""
        while True:
            kind, data = self._read_packet()
            answer = paramiko.Message(data)
            number = answer.get_int()
            if number in waiting:  # else it answers somebody who went away, or closes a file
                return waiting.pop(number), kind, answer


class _Packetizer(paramiko.Packetizer):  # type: ignore[misc]
    """Reads no packet that is longer than any lawful one, and none while too many bytes wait that nobody asked for."""

    backlog: Callable[[], int] = staticmethod(lambda: 0)

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """See Packetizer. Raises SSHException."""
        if n > _PACKET_BYTES:
            raise paramiko.SSHException("a packet without measure")
        if self.backlog() > _BACKLOG_BYTES:
            raise paramiko.SSHException("more than was asked for")
        return bytes(super().read_all(n, check_rekey))


def _transport(sock: socket.socket, disabled_algorithms: dict[str, list[str]] | None = None) -> paramiko.Transport:
    return paramiko.Transport(sock, disabled_algorithms=disabled_algorithms, packetizer_class=_Packetizer)


class _Failure(OSError):
    """The server says that it failed, and not much more."""


class _UnknownHostKey(paramiko.SSHException):  # type: ignore[misc]
    """The server has none of the host keys that we know."""

    def __init__(self, key: paramiko.PKey) -> None:
        self.key = key
        super().__init__("unknown host key")


class _Reject(paramiko.RejectPolicy):  # type: ignore[misc]
    """Rejects, and says which key it was."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise _UnknownHostKey(key)


def _refusal(answer: paramiko.Message) -> FileGone | FileForbidden | None:
    """Why something cannot be had; None when there is no more of it. Raises _Failure for another reason."""
    match code := answer.get_int():
        case paramiko.SFTP_EOF:
            return None
        case paramiko.SFTP_NO_SUCH_FILE:
            return FileGone()
        case paramiko.SFTP_PERMISSION_DENIED:
            return FileForbidden()
    raise _Failure(code)


def _longer(listing: Listing, keep: Keep, content: bytes) -> Listing:
    """A listing with what `keep` makes of the names in one more answer."""
    assert isinstance(listing, list)
    try:
        listing += filter(None, map(keep, _names(content)))
    except struct.error:
        return Hidden.GARBLED
    return Hidden.CROWDED if len(listing) > MOST_FILES else listing


def _names(content: bytes) -> Iterator[_Named]:
    """The names in an answer, which may say that there are more of them than it holds. Raises struct.error then."""
    (count,) = struct.unpack_from(">I", content)
    at = 4
    for _ in range(count):
        name, at = _string(content, at)
        _, at = _string(content, at)
        attributes, at = _attributes(content, at)
        if name not in (b".", b".."):
            yield attributes._replace(name=name[:_NAME_BYTES].decode(errors="surrogateescape"))


def _attributes(content: bytes, at: int) -> tuple[_Named, int]:
    """What is said of a file at a place in an answer, as the protocol orders it, and the place behind it."""
    (flags,) = struct.unpack_from(">I", content, at)
    at += 4
    found: dict[str, int] = {}
    for flag, form, names in _FIELDS:
        if flags & flag:
            found |= zip(names, struct.unpack_from(form, content, at), strict=True)
            at += struct.calcsize(form)
    if flags & paramiko.SFTPAttributes.FLAG_EXTENDED:
        (count,) = struct.unpack_from(">I", content, at)
        at += 4
        for _ in range(2 * count):
            _, at = _string(content, at)
    return _Named("", found.get("size"), found.get("mode"), found.get("changed_at")), at


def _string(content: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">I", content, at)
    end = at + 4 + length
    if end > len(content):
        raise struct.error("a string goes beyond its answer")
    return content[at + 4 : end], end


def _is_file(mode: int | None) -> bool:
    """A server need not say what something is."""
    return not mode or stat.S_ISREG(mode)


def _host_keys(text: str, mend: str) -> list[paramiko.PKey]:
    """The keys in `text`, one a line as in a known_hosts file, with or without the names in front."""
    keys = []
    for line in filter(None, map(str.strip, text.splitlines())):
        words = line.split()
        at = next((i for i, word in enumerate(words[:-1]) if word.startswith(("ssh-", "ecdsa-", "rsa-"))), None)
        try:
            if at is None:
                raise ValueError
            keys.append(paramiko.PKey.from_type_string(words[at], base64.b64decode(words[at + 1], validate=True)))
        except (ValueError, paramiko.UnknownKeyType, paramiko.SSHException) as error:
            raise BranchRefused("extra.host_key is no host key", f"{mend}: ssh-ed25519 AAAA...") from error
    return keys


def _parse_private_key(text: str, password: str | None) -> paramiko.PKey:
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey):
        with suppress(paramiko.SSHException, ValueError):
            return kind.from_private_key(io.StringIO(text), password)
    return paramiko.RSAKey.from_private_key(io.StringIO(text), password)
