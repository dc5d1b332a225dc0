"""Kind `sftp`: an SSH server of the branch. Its host key is known before the first visit, or there is none.

Requests are sent ahead of the answers, for the branches are far away: listing a thousand days and fetching a large
file take a few round trips, not thousands.
"""

import base64
import io
import logging
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any, TypeVar

import paramiko
from paramiko import sftp

from kkbc.connections import Connection
from kkbc.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.registry import Branch
from kkbc.sources.tree import CONNECT_SECONDS, READ_SECONDS, FileForbidden, FileGone, Item, day_of

# Every failure is told by the error that it becomes; the library logs it too, with its traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

# What every server must be able to answer at once, and the number of requests that OpenSSH lets stand open.
_CHUNK = 32768
_REQUESTS = 64
_KEEPALIVE_SECONDS = 30


_T = TypeVar("_T")
Listing = list[paramiko.SFTPAttributes] | FileGone | FileForbidden


class SftpTree:
    """`extra.root`/{branch_id}/{YYYY-MM-DD}/ on a server. Connects at the first call. See Tree."""

    def __init__(
        self,
        branch: Branch,
        connection: Connection,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        connection.need("host", "login", "extra.root", "extra.host_key")
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

    def days(self, until: date) -> Iterator[tuple[date, list[Item] | None]]:
        """See Tree. A branch without a folder has delivered nothing yet; a missing root is somebody's mistake."""
        with self._told():
            (found,) = self._sftp.list_all([self.folder])
            if isinstance(found, FileGone):
                (root,) = self._sftp.list_all([self.root])
                if not isinstance(root, list):
                    raise BranchRefused(f"{self.place} has no folder {self.root} that may be read", self.mend)
                return
            if isinstance(found, FileForbidden):
                raise BranchRefused(f"{self.place} does not let {self.folder} be read", self.mend)
            days = sorted(day for item in found if (day := day_of(item.filename)) is not None and day <= until)
            listings = self._sftp.list_all([f"{self.folder}/{day}" for day in days])
        for day, listing in zip(days, listings, strict=True):
            if isinstance(listing, FileForbidden):
                yield day, None
            elif not isinstance(listing, FileGone):
                yield (
                    day,
                    [Item(file.filename, f"{file.st_size}:{file.st_mtime}") for file in listing if _is_file(file)],
                )

    def read(self, day: date, name: str) -> Iterator[bytes]:
        """See Tree."""
        blocks = self._sftp.read_all(f"{self.folder}/{day}/{name}")
        while True:
            with self._told():
                block = next(blocks, b"")
            if not block:
                return
            yield block

    def close(self) -> None:
        """See Tree."""
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
        client.connect(
            self.connection.host,
            self.port,
            username=self.connection.login,
            password=self.connection.password or None,
            pkey=self._private_key(),
            timeout=self.connect_seconds,
            banner_timeout=self.connect_seconds,
            auth_timeout=self.connect_seconds,
            channel_timeout=self.connect_seconds,
            allow_agent=False,
            look_for_keys=False,
        )
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_SECONDS)
        channel = transport.open_session(timeout=self.connect_seconds)
        channel.settimeout(self.read_seconds)
        # The library waits for this one answer without an end, or until somebody hangs up.
        alarm = threading.Timer(self.connect_seconds, client.close)
        alarm.start()
        try:
            channel.invoke_subsystem("sftp")
            return _Pipeline(channel)
        finally:
            alarm.cancel()

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
        except (BranchUnavailable, BranchTimeout):
            raise
        except (paramiko.BadHostKeyException, _UnknownHostKey) as error:
            raise BranchRefused(
                f"{self.place} shows the host key {error.key.get_name()} {error.key.fingerprint}, which is not the one"
                f" in Airflow connection {self.connection.conn_id!r}",
                "ask the branch for its host key by another way, and only if it did change put it in extra.host_key",
            ) from error
        except TimeoutError as error:
            raise BranchTimeout(f"{self.place} does not answer in time") from error
        except (paramiko.SSHException, paramiko.SFTPError, OSError, EOFError) as error:
            # While it connects the library tells a time-out by the words of its errors, or not at all.
            if self._opened is None and time.monotonic() - began >= self.connect_seconds:
                raise BranchTimeout(f"{self.place} does not answer in time") from error
            transport = self._client.get_transport() if self._client is not None else None
            if isinstance(error, paramiko.AuthenticationException) and transport is not None and transport.is_active():
                raise BranchRefused(f"{self.place} refuses the login", self.mend) from error
            raise BranchUnavailable(f"{self.place} cannot be reached, or hung up ({type(error).__name__})") from error


class _Pipeline(paramiko.SFTPClient):  # type: ignore[misc]
    """An SFTP session that sends requests ahead of the answers. Reads only, in one thread."""

    def list_all(self, paths: Sequence[str]) -> list[Listing]:
        """What lies in each of the folders `paths`, or why that cannot be told."""
        found: dict[str, list[paramiko.SFTPAttributes]] = {}
        refused: dict[str, FileGone | FileForbidden] = {}
        handles: dict[str, bytes] = {}
        waiting: dict[int, str] = {}
        ahead = deque(paths)
        while ahead or waiting:
            while ahead and len(waiting) < _REQUESTS:
                path = ahead.popleft()
                waiting[self._ask(sftp.CMD_OPENDIR, path)] = path
            path, kind, answer = self._next_of(waiting)
            match kind:
                case sftp.CMD_HANDLE:
                    handles[path], found[path] = answer.get_binary(), []
                case sftp.CMD_NAME:
                    found[path] += _names(answer)
                case _:
                    if path in handles:
                        self._ask(sftp.CMD_CLOSE, handles[path])
                    if (refusal := _refusal(answer)) is not None:
                        refused[path] = refusal
                    continue
            waiting[self._ask(sftp.CMD_READDIR, handles[path])] = path
        return [refused.get(path) or found[path] for path in paths]

    def read_all(self, path: str) -> Iterator[bytes]:
        """The bytes of the file `path`, up to where the server says that it ends.

        Raises FileGone or FileForbidden for what is no file that may be read; EOFError or OSError when it breaks off.
        """
        opening = self._ask(sftp.CMD_OPEN, path, sftp.SFTP_FLAG_READ, paramiko.SFTPAttributes())
        try:
            _, kind, answer = self._next_of({opening: path})
            if kind != sftp.CMD_HANDLE:
                raise _refusal(answer) or FileGone()
            handle = answer.get_binary()
            try:
                yield from self._blocks(handle)
            finally:
                with suppress(OSError, EOFError):
                    self._ask(sftp.CMD_CLOSE, handle)
        except _Failure:
            # A server may open a folder like a file, and fail to read it.
            if not _is_file(self.stat(path)):
                raise FileGone from None
            raise

    def _blocks(self, handle: bytes) -> Iterator[bytes]:
        """What lies behind `handle`. The more full blocks came, the more are asked for ahead of the answers."""
        waiting: dict[int, tuple[int, int]] = {}
        ready: dict[int, bytes] = {}
        asked = given = 0
        end: int | None = None
        window = 2
        while True:
            while end is None and len(waiting) + len(ready) < window:
                waiting[self._ask(sftp.CMD_READ, handle, sftp.int64(asked), _CHUNK)] = asked, _CHUNK
                asked += _CHUNK
            if not waiting:
                break
            (offset, length), kind, answer = self._next_of(waiting)
            data = answer.get_binary() if kind == sftp.CMD_DATA else b""
            if kind != sftp.CMD_DATA and (refusal := _refusal(answer)) is not None:
                raise refusal
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
        if given != end:
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


def _names(answer: paramiko.Message) -> list[paramiko.SFTPAttributes]:
    names = []
    for _ in range(answer.get_int()):
        name = answer.get_binary().decode(errors="surrogateescape")
        attributes = paramiko.SFTPAttributes._from_msg(answer, name, answer.get_binary())
        if name not in (".", ".."):
            names.append(attributes)
    return names


def _is_file(attributes: paramiko.SFTPAttributes) -> bool:
    """A server need not say what something is."""
    return not attributes.st_mode or stat.S_ISREG(attributes.st_mode)


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
