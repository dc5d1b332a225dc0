"""Hostile branches with an SFTP server."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko

from tests.intake.sources.branch_api import TOKEN

from .attack import DAY, Attack, deliveries, sparse_deliveries


class _Gate(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.AUTH_SUCCESSFUL if password == TOKEN else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


INIT, OPEN, CLOSE, READ, OPENDIR, READDIR, STAT = 1, 3, 4, 5, 11, 12, 17
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
FILE_MODE, FOLDER_MODE = 0o100644, 0o040755


def text(content: bytes) -> bytes:
    """A string of the protocol."""
    return struct.pack(">I", len(content)) + content


class _Files(paramiko.SubsystemHandler):
    """SFTP, version 3, as far as a visitor needs it, over files of this machine, but for what is answered otherwise."""

    def start_subsystem(self, name: str, transport: Any, channel: Any) -> None:
        self.channel = channel
        self.open: dict[bytes, Path] = {}
        self.listed: set[bytes] = set()
        with suppress(OSError, EOFError, struct.error):
            while True:
                (length,) = struct.unpack(">I", self.take(4))
                self.answer(self.take(length))

    def take(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = self.channel.recv(size - len(content))
            if not piece:
                raise EOFError
            content += piece
        return content

    def send(self, kind: int, content: bytes) -> None:
        self.channel.sendall(struct.pack(">IB", len(content) + 1, kind) + content)

    def answer(self, request: bytes) -> None:
        kind, rest = request[0], request[1:]
        if kind == INIT:
            return self.send(2, struct.pack(">I", 3))
        number, rest = rest[:4], rest[4:]
        (length,) = struct.unpack(">I", rest[:4])
        what, rest = rest[4 : 4 + length], rest[4 + length :]
        path = self.open.get(what, Path(os.fsdecode(what)))
        sftp: Sftp = self.get_server().sftp
        if sftp.misbehave is not None and sftp.misbehave(self, kind, number, path, rest):
            return None
        if kind in (OPEN, OPENDIR, STAT) and not path.exists():
            return self.send(STATUS, number + struct.pack(">I", 2) + text(b"") + text(b""))
        if kind in (OPEN, OPENDIR):
            handle = str(len(self.open)).encode()
            self.open[handle] = path
            return self.send(HANDLE, number + text(handle))
        if kind == STAT:
            return self.send(ATTRS, number + struct.pack(">II", 4, FILE_MODE if path.is_file() else FOLDER_MODE))
        if kind == READDIR and what not in self.listed:
            self.listed.add(what)
            return self.names(number, [(item.name.encode(), item.stat()) for item in path.iterdir()])
        if kind == READ:
            offset, size = struct.unpack(">QI", rest)
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
            sftp.sent[0] += len(content)
            if content:
                return self.send(DATA, number + text(content))
        return self.send(STATUS, number + struct.pack(">I", 0 if kind == CLOSE else 1) + text(b"") + text(b""))

    def names(self, number: bytes, items: list[tuple[bytes, Any]]) -> None:
        parts = [text(name) + text(name) + struct.pack(">IQI", 5, s.st_size, s.st_mode) for name, s in items]
        self.send(NAME, number + struct.pack(">I", len(parts)) + b"".join(parts))


Misbehaviour = Callable[[_Files, int, bytes, Path, bytes], bool]


class Sftp:
    """An SSH server with one subsystem, in threads of this process."""

    def __init__(self, misbehave: Misbehaviour | None) -> None:
        self.misbehave = misbehave
        self.sent = [0]
        self.key = paramiko.ECDSAKey.generate()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.transports: list[paramiko.Transport] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                transport = paramiko.Transport(client)
                transport.add_server_key(self.key)
                transport.set_subsystem_handler("sftp", _Files)
                gate = _Gate()
                gate.sftp = self
                self.transports.append(transport)
                with suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=gate)

    def close(self) -> None:
        self.listening.close()
        for transport in self.transports:
            transport.close()


@contextmanager
def _sftp(root: Path, misbehave: Misbehaviour | None = None, sent: list[int] | None = None) -> Iterator[Attack]:
    server = Sftp(misbehave)
    host_key = f"{server.key.get_name()} {server.key.get_base64()}"
    try:
        yield Attack("sftp", _fields(root, server.listening.getsockname()[1], host_key), sent or server.sent)
    finally:
        server.close()


def _fields(root: Path, port: int, host_key: str) -> dict[str, Any]:
    extra = {"root": str(root), "host_key": host_key}
    return {"host": "127.0.0.1", "port": port, "login": "cabang", "password": TOKEN, "extra": extra}


@contextmanager
def sparse_sftp(root: Path) -> Iterator[Attack]:
    """The sparse file by SFTP."""
    sparse_deliveries(root)
    with _sftp(root) as attack:
        yield attack


@contextmanager
def _listing(
    root: Path, answer: Callable[[], bytes], *, sent: list[int] | None = None, is_closed: bool = True
) -> Iterator[Attack]:
    """Good deliveries, but the names of the middle day are what `answer` says, as often as they are asked for.

    is_closed: whether the folder is ever said to be closed.
    """
    deliveries(root)

    def misbehave(files: _Files, kind: int, number: bytes, path: Path, rest: bytes) -> bool:
        if path.name != DAY.isoformat():
            return False
        if kind == READDIR:
            files.send(NAME, number + answer())
        return kind == READDIR or (kind == CLOSE and not is_closed)

    with _sftp(root, misbehave, sent) as attack:
        yield attack


def endless_sftp_listing(root: Path) -> AbstractContextManager[Attack]:
    """A day with more and more files."""
    listed = [0]

    def answer() -> bytes:
        listed[0] += 100
        parts = [text(b"%0200d" % (listed[0] + n)) * 2 + struct.pack(">II", 4, FILE_MODE) for n in range(100)]
        return struct.pack(">I", len(parts)) + b"".join(parts)

    return _listing(root, answer, sent=listed)


def names_in_one_answer(root: Path) -> AbstractContextManager[Attack]:
    """A day with 300,000 names in one answer; of it nothing more is said, not even that it is closed."""
    names = struct.pack(">I", 300_000) + (text(b"") * 2 + struct.pack(">I", 0)) * 300_000
    return _listing(root, lambda: names, is_closed=False)


def names_without_number(root: Path) -> AbstractContextManager[Attack]:
    """A listing that says that it has 4,294,967,295 names, and has none."""
    return _listing(root, lambda: b"\xff\xff\xff\xff")


def attributes_without_number(root: Path) -> AbstractContextManager[Attack]:
    """A name with 4,294,967,295 attributes beyond the usual ones."""
    flags = struct.pack(">II", 0x80000000, 0xFFFFFFFF)
    return _listing(root, lambda: struct.pack(">I", 1) + text(b"iuran.csv") * 2 + flags)


@contextmanager
def packet_of_four_gigabytes(root: Path) -> Iterator[Attack]:
    """A packet of SSH, before anybody has shown who they are, that says that it is 4 GiB long."""
    deliveries(root)
    with _flood(b"SSH-2.0-x\r\n" + b"\xff\xff\xff\xf4" + b"\0" * 12) as (port, sent):
        host_key = f"ecdsa-sha2-nistp256 {paramiko.ECDSAKey.generate().get_base64()}"
        yield Attack("sftp", _fields(root, port, host_key), sent)


@contextmanager
def _flood(first: bytes) -> Iterator[tuple[int, list[int]]]:
    """A port that sends each client `first`, then zeros without end; yields it, and how much it has sent of these."""
    sent, over = [0], threading.Event()

    def work(client: socket.socket) -> None:
        with suppress(OSError), client:
            client.sendall(first)
            while not over.is_set():
                client.sendall(b"\0" * 65536)
                sent[0] += 65536

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=work, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1], sent
        over.set()
