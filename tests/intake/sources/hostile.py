"""Branches that mean harm, on real sockets of this machine: what each sends has no measure, or no end.

Every one of them has good deliveries of the days before and after. `bench/hostile.py` measures visits to them, and
`tests/intake/sources/test_hostile.py` says what must come of them.
"""

import gzip
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import paramiko
import psycopg
from psycopg import sql

from tests.deliveries import TEMPLATE, deliver
from tests.intake.sources.branch_api import TOKEN, Asked, BranchApi, serving

DAY = date(2023, 12, 11)
DAYS = (DAY - timedelta(days=1), DAY, DAY + timedelta(days=1))
FEEDS = ("pendaftaran", "iuran", "kegiatan")
SPARSE = 40 << 30
FOREVER = 600.0


@dataclass
class Attack:
    """A hostile branch that is there for the length of a block: its kind, and the fields of its connection.

    `sent` is what it has put on the wire of the slice or answer that has no measure.
    """

    kind: str
    fields: dict[str, Any]
    sent: list[int] = field(default_factory=lambda: [0])


def deliveries(root: Path) -> Path:
    """A good delivery of one row a feed on each of the days; returns the folder of the middle one."""
    for day in DAYS:
        deliver(root, {feed: [{}] for feed in FEEDS}, day=day)
    return root / "KC001" / DAY.isoformat()


# --- folders ---


@contextmanager
def sparse_folder(root: Path) -> Iterator[Attack]:
    """A file of 40 GiB behind a manifest of a few hundred bytes."""
    os.truncate(deliveries(root) / "iuran.csv", SPARSE)
    yield Attack("file", {"extra": {"root": str(root)}})


# --- SFTP ---


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

    def __init__(self, misbehave: Misbehaviour | None, sent: list[int]) -> None:
        self.misbehave = misbehave
        self.sent = sent
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
def _sftp(root: Path, misbehave: Misbehaviour | None = None) -> Iterator[Attack]:
    sent = [0]
    server = Sftp(misbehave, sent)
    fields = {
        "host": "127.0.0.1",
        "port": server.listening.getsockname()[1],
        "login": "cabang",
        "password": TOKEN,
        "extra": {"root": str(root), "host_key": f"{server.key.get_name()} {server.key.get_base64()}"},
    }
    try:
        yield Attack("sftp", fields, sent)
    finally:
        server.close()


@contextmanager
def sparse_sftp(root: Path) -> Iterator[Attack]:
    """The sparse file by SFTP."""
    os.truncate(deliveries(root) / "iuran.csv", SPARSE)
    with _sftp(root) as attack:
        yield attack


@contextmanager
def endless_sftp_listing(root: Path) -> Iterator[Attack]:
    """A day with more and more files."""
    deliveries(root)
    listed = [0]

    def misbehave(files: _Files, kind: int, number: bytes, path: Path, rest: bytes) -> bool:
        if kind != READDIR or path.name != DAY.isoformat():
            return False
        listed[0] += 100
        parts = [text(b"%0200d" % (listed[0] + n)) * 2 + struct.pack(">II", 4, FILE_MODE) for n in range(100)]
        files.send(NAME, number + struct.pack(">I", len(parts)) + b"".join(parts))
        return True

    with _sftp(root, misbehave) as attack:
        attack.sent = listed
        yield attack


@contextmanager
def names_in_one_answer(root: Path) -> Iterator[Attack]:
    """A day with 300,000 names in one answer; of it nothing more is said, not even that it is closed."""
    deliveries(root)
    answer = struct.pack(">I", 300_000) + (text(b"") * 2 + struct.pack(">I", 0)) * 300_000

    def misbehave(files: _Files, kind: int, number: bytes, path: Path, rest: bytes) -> bool:
        if kind == READDIR and path.name == DAY.isoformat():
            files.send(NAME, number + answer)
            return True
        return kind == CLOSE and path.name == DAY.isoformat()

    with _sftp(root, misbehave) as attack:
        yield attack


@contextmanager
def names_without_number(root: Path) -> Iterator[Attack]:
    """A listing that says that it has 4,294,967,295 names, and has none."""
    deliveries(root)

    def misbehave(files: _Files, kind: int, number: bytes, path: Path, rest: bytes) -> bool:
        if kind != READDIR or path.name != DAY.isoformat():
            return False
        files.send(NAME, number + b"\xff\xff\xff\xff")
        return True

    with _sftp(root, misbehave) as attack:
        yield attack


@contextmanager
def attributes_without_number(root: Path) -> Iterator[Attack]:
    """A name with 4,294,967,295 attributes beyond the usual ones."""
    deliveries(root)

    def misbehave(files: _Files, kind: int, number: bytes, path: Path, rest: bytes) -> bool:
        if kind != READDIR or path.name != DAY.isoformat():
            return False
        flags = struct.pack(">II", 0x80000000, 0xFFFFFFFF)
        files.send(NAME, number + struct.pack(">I", 1) + text(b"iuran.csv") * 2 + flags)
        return True

    with _sftp(root, misbehave) as attack:
        yield attack


@contextmanager
def packet_of_four_gigabytes(root: Path) -> Iterator[Attack]:
    """A packet of SSH, before anybody has shown who they are, that says that it is 4 GiB long."""
    deliveries(root)
    with _tcp(lambda client: _flood(client, b"SSH-2.0-x\r\n" + b"\xff\xff\xff\xf4" + b"\0" * 12)) as (port, sent):
        extra = {"root": str(root), "host_key": f"ecdsa-sha2-nistp256 {paramiko.ECDSAKey.generate().get_base64()}"}
        fields = {"host": "127.0.0.1", "port": port, "login": "cabang", "password": TOKEN, "extra": extra}
        yield Attack("sftp", fields, sent)


def _flood(client: socket.socket, first: bytes) -> Iterator[int]:
    client.sendall(first)
    while True:
        client.sendall(b"\0" * 65536)
        yield 65536


@contextmanager
def _tcp(serve: Callable[[socket.socket], Iterator[int]]) -> Iterator[tuple[int, list[int]]]:
    """A port where `serve` does what it does with each client, and tells how much it has sent."""
    sent, over = [0], threading.Event()

    def work(client: socket.socket) -> None:
        with suppress(OSError), client:
            for count in serve(client):
                sent[0] += count
                if over.is_set():
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=work, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1], sent
        over.set()


# --- S3 ---


class _Store(BaseHTTPRequestHandler):
    """As much of S3 as a visitor needs, over a folder, for anybody."""

    protocol_version = "HTTP/1.1"
    server: "Store"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "list-type" in query:
            if self.server.misbehave is None or not self.server.misbehave(self, query):
                self.list_keys(self.server.files(query.get("start-after", "")), None)
            return None
        path = self.server.root / unquote(parts.path).removeprefix("/deliveries/")
        if not path.is_file():
            body = b"<Error><Code>NoSuchKey</Code></Error>"
            return self.give(404, [body], len(body))
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        size = min(path.stat().st_size - 1, int(last or SPARSE)) - int(first) + 1
        return self.give(206, self.blocks(path, size), size)

    def blocks(self, path: Path, size: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            while size > 0 and (block := file.read(min(size, 65536))):
                self.server.sent[0] += len(block)
                size -= len(block)
                yield block

    def list_keys(self, keys: list[tuple[str, int]], more: str | None) -> None:
        rows = "".join(f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>e</ETag></Contents>" for key, size in keys)
        token = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{more}</NextContinuationToken>" if more else ""
        body = f"<ListBucketResult>{rows}{token}</ListBucketResult>".encode()
        self.give(200, [body], len(body))

    def give(self, status: int, blocks: Any, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        with suppress(OSError):
            for block in blocks:
                self.wfile.write(block)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


class Store(ThreadingHTTPServer):
    """The store itself."""

    daemon_threads = True

    def __init__(self, root: Path, misbehave: Callable[[_Store, dict[str, str]], bool] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Store)
        self.root = root
        self.misbehave = misbehave
        self.sent = [0]

    def files(self, after: str = "") -> list[tuple[str, int]]:
        """All files of the folder, by name."""
        found = ((str(path.relative_to(self.root)), path) for path in self.root.rglob("*") if path.is_file())
        return sorted((key, path.stat().st_size) for key, path in found if key > after)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor that hangs up is what this is about."""


@contextmanager
def _s3(root: Path, misbehave: Callable[[_Store, dict[str, str]], bool] | None = None) -> Iterator[Attack]:
    with Store(root, misbehave) as store:
        thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        extra = {"endpoint_url": f"http://127.0.0.1:{store.server_port}", "root": "s3://deliveries/"}
        try:
            yield Attack("s3", {"login": "cabang", "password": TOKEN, "extra": extra}, store.sent)
        finally:
            store.shutdown()
            thread.join()


@contextmanager
def sparse_s3(root: Path) -> Iterator[Attack]:
    """The sparse file as an object."""
    os.truncate(deliveries(root) / "iuran.csv", SPARSE)
    with _s3(root) as attack:
        yield attack


@contextmanager
def endless_s3_listing(root: Path) -> Iterator[Attack]:
    """A day with more and more objects, page after page."""
    deliveries(root)
    listed = [0]

    def misbehave(asked: _Store, query: dict[str, str]) -> bool:
        if "start-after" in query:
            return False
        first = (
            [] if "continuation-token" in query else [key for key in asked.server.files() if key[0] < f"KC001/{DAY}"]
        )
        listed[0] += 1000
        asked.list_keys(first + [(f"KC001/{DAY}/{listed[0] + n:012}", 1) for n in range(1000)], str(listed[0]))
        return True

    with _s3(root, misbehave) as attack:
        attack.sent = listed
        yield attack


@contextmanager
def listing_of_a_hundred_megabytes(root: Path) -> Iterator[Attack]:
    """One page of a listing that is 100 MB long."""
    deliveries(root)
    sent = [0]

    def misbehave(asked: _Store, query: dict[str, str]) -> bool:
        def blocks() -> Iterator[bytes]:
            for _ in range(1600):
                sent[0] += 65536
                yield b"<x/>" * 16384

        asked.give(200, blocks(), 1600 * 65536)
        return True

    with _s3(root, misbehave) as attack:
        attack.sent = sent
        yield attack


# --- APIs ---


@contextmanager
def _api(misbehave: Callable[[Asked], bool], sent: list[int] | None = None) -> Iterator[Attack]:
    """Good deliveries by an API, but for what `misbehave` answers when it is asked about the middle day."""
    api = BranchApi()
    for day in map(str, DAYS):
        listed = [{"feed": feed, "revision": 1, "rows": 1} for feed in FEEDS]
        said = {"schema_version": 1, "branch_id": "KC001", "business_date": day, "sent_at": f"{day}T19:00:00+07:00"}
        api.manifests[day] = said | {"revision": 1, "slices": listed}
        api.slices |= {(feed, day, 1): [TEMPLATE[feed]] for feed in FEEDS}
    about = str(DAY)
    api.misbehave = lambda asked: (
        (about in asked.path_asked or asked.query.get("business_date") == about) and misbehave(asked)
    )
    with serving(api):
        yield Attack("http", {"host": api.address, "password": TOKEN}, sent or [0])


def _of_iuran(answer: Callable[[Asked], None]) -> Callable[[Asked], bool]:
    def misbehave(asked: Asked) -> bool:
        if asked.path_asked != "iuran":
            return False
        answer(asked)
        return True

    return misbehave


@contextmanager
def rows_without_end(root: Path) -> Iterator[Attack]:
    """An API that announces 10**15 rows, and gives page after page of them."""
    sent = [0]
    page = [TEMPLATE["iuran"]] * 1000

    def misbehave(asked: Asked) -> bool:
        if asked.path_asked.startswith("deliveries/"):
            listed = [{"feed": feed, "revision": 1, "rows": 10**15 if feed == "iuran" else 1} for feed in FEEDS]
            asked.answer(200, asked.server.manifests[str(DAY)] | {"slices": listed})
        elif asked.path_asked == "iuran":
            sent[0] += len(page)
            asked.answer(200, {"data": page, "next_cursor": f"from-{sent[0]}", "total": 10**15})
        else:
            return False
        return True

    with _api(misbehave, sent) as attack:
        yield attack


@contextmanager
def manifest_that_unfolds(root: Path) -> Iterator[Attack]:
    """A manifest that unfolds to 128 MiB of empty lists."""
    bomb = gzip.compress(b'{"files": [' + b"[]," * ((128 << 20) // 3) + b"[]]}")

    def misbehave(asked: Asked) -> bool:
        if not asked.path_asked.startswith("deliveries/"):
            return False
        asked.answer(200, bomb, Content_Encoding="gzip")
        return True

    with _api(misbehave) as attack:
        yield attack


@contextmanager
def page_of_lists(root: Path) -> Iterator[Attack]:
    """A page as long as a page may be, of one item that is nothing but empty lists."""
    page = b'{"data": [[' + b"[]," * 2_796_000 + b"[]]]}"
    with _api(_of_iuran(lambda asked: asked.answer(200, page))) as attack:
        yield attack


@contextmanager
def cursor_of_ten_megabytes(root: Path) -> Iterator[Attack]:
    """A cursor that makes no address."""
    page = {"data": [TEMPLATE["iuran"]], "next_cursor": "x" * 7_900_000, "total": 2}
    with _api(_of_iuran(lambda asked: asked.answer(200, page))) as attack:
        yield attack


def _drip(first: bytes, drop: bytes, pause: float) -> Callable[[Asked], None]:
    def answer(asked: Asked) -> None:
        until = time.monotonic() + FOREVER
        with suppress(OSError):
            asked.wfile.write(first)
            while time.monotonic() < until:
                asked.wfile.write(drop)
                time.sleep(pause)

    return answer


@contextmanager
def header_in_drips(root: Path) -> Iterator[Attack]:
    """A header that goes on byte by byte."""
    with _api(_of_iuran(_drip(b"HTTP/1.1 200 OK\r\nX-Header: ", b"x", 0.05))) as attack:
        yield attack


@contextmanager
def continue_for_ever(root: Path) -> Iterator[Attack]:
    """`100 Continue`, for ever."""
    with _api(_of_iuran(_drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01))) as attack:
        yield attack


@contextmanager
def early_hints_for_ever(root: Path) -> Iterator[Attack]:
    """`103 Early Hints`, for ever."""
    with _api(_of_iuran(_drip(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0.01))) as attack:
        yield attack


def odd_answer(answer: bytes) -> Callable[[Path], Any]:
    """An API that answers the question for one slice with these bytes and hangs up."""

    @contextmanager
    def attack(root: Path) -> Iterator[Attack]:
        def misbehave(asked: Asked) -> None:
            asked.wfile.write(answer)
            asked.close_connection = True

        with _api(_of_iuran(misbehave)) as made:
            yield made

    return attack


# --- databases ---


@contextmanager
def rows_of_two_megabytes(root: Path, server: Any, rows: int = 1000) -> Iterator[Attack]:
    """A table of so many rows of 2 MB, in a database of `server`."""
    login = "penjahat"
    with psycopg.connect(server.conninfo(), autocommit=True) as conn, ExitStack() as undo:
        conn.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(login), TOKEN))
        undo.callback(conn.execute, sql.SQL("drop role {}").format(sql.Identifier(login)))
        conn.execute("create database penjahat")
        undo.callback(conn.execute, "drop database penjahat with (force)")
        with psycopg.connect(server.conninfo("penjahat"), autocommit=True) as made:
            made.execute(
                "create schema ekspor; create table ekspor.pengiriman (tgl_data date, umpan text, revisi int,"
                f" jumlah_baris int, dikirim_pada timestamp); grant usage on schema ekspor to {login}"
            )
            for feed in FEEDS:
                columns = ", ".join(f"{name} text" for name in TEMPLATE[feed])
                made.execute(f"create table ekspor.{feed} (tgl_data date, revisi int, {columns})")  # type: ignore[arg-type]
                names = sql.SQL(", ").join(map(sql.Identifier, TEMPLATE[feed]))
                for day in DAYS:
                    values = [day, 1, *TEMPLATE[feed].values()]
                    places = sql.SQL(", ").join([sql.Placeholder()] * len(values))
                    statement = sql.SQL("insert into {} (tgl_data, revisi, {}) values ({})")
                    made.execute(statement.format(sql.Identifier("ekspor", feed), names, places), values)
                    made.execute("insert into ekspor.pengiriman values (%s, %s, 1, 1, null)", [day, feed])
            # One stored value, repeated by a view: the disk of the test holds none of it.
            made.execute("alter table ekspor.iuran rename to satu")
            made.execute(
                f"create view ekspor.iuran as select s.*, case when tgl_data = '{DAY}' then repeat('x', 2000000) end"
                " as isi from ekspor.satu s"
                f" cross join generate_series(1, case when tgl_data = '{DAY}' then {rows} else 1 end);"
                f"update ekspor.pengiriman set jumlah_baris = {rows} where umpan = 'iuran' and tgl_data = '{DAY}'"
            )
            made.execute(f"grant select on all tables in schema ekspor to {login}")
        fields = {"host": "127.0.0.1", "port": server.port, "login": login, "password": TOKEN, "schema": "penjahat"}
        yield Attack("postgres", fields)
