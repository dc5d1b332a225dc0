"""Hostile branches with an object store."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.intake.sources.branch_api import TOKEN

from .attack import DAY, SPARSE, Attack, deliveries, sparse_deliveries


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
def _s3(
    root: Path, misbehave: Callable[[_Store, dict[str, str]], bool] | None = None, sent: list[int] | None = None
) -> Iterator[Attack]:
    with Store(root, misbehave) as store:
        thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        extra = {"endpoint_url": f"http://127.0.0.1:{store.server_port}", "root": "s3://deliveries/"}
        try:
            yield Attack("s3", {"login": "cabang", "password": TOKEN, "extra": extra}, sent or store.sent)
        finally:
            store.shutdown()
            thread.join()


def sparse_s3(root: Path) -> AbstractContextManager[Attack]:
    """The sparse file as an object."""
    sparse_deliveries(root)
    return _s3(root)


def endless_s3_listing(root: Path) -> AbstractContextManager[Attack]:
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

    return _s3(root, misbehave, listed)


def listing_of_a_hundred_megabytes(root: Path) -> AbstractContextManager[Attack]:
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

    return _s3(root, misbehave, sent)
