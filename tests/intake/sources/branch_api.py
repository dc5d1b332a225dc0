"""A branch's API on a real socket, small and independent of the simulator, that can be set to misbehave."""

import gzip
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "rahasia-sekali"


class Asked(BaseHTTPRequestHandler):
    """One connection's requests. What a test's `misbehave` does not answer, is answered by the page."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "BranchApi"
    path_asked: str
    query: dict[str, str]

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.path_asked = parts.path.removeprefix("/kc001/v1/")
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.asked.append((self.path_asked, self.query))
        if self.server.misbehave is not None and self.server.misbehave(self):
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {})
        elif self.path_asked.startswith("deliveries/"):
            manifest = self.server.manifests.get(self.path_asked.removeprefix("deliveries/"))
            self.answer(404 if manifest is None else 200, manifest)
        else:
            self.page()

    def page(self, **changes: Any) -> None:
        """The page that was asked for, with `changes` made to it."""
        rows = self.server.slices.get((self.path_asked, self.query["business_date"], int(self.query["revision"])))
        if rows is None:
            return self.answer(404, {"detail": "no such slice"})
        first = int(self.query.get("cursor", "from-0").removeprefix("from-"))
        last = first + min(int(self.query["limit"]), self.server.most_rows)
        page: dict[str, Any] = {
            "data": rows[first:last],
            "next_cursor": f"from-{last}" if last < len(rows) else None,
            "total": len(rows),
        }
        return self.answer(200, page | changes)

    def answer(self, status: int, content: Any, *, cut: int | None = None, **headers: str) -> None:
        """Sends `content`, bytes as they are and all else as JSON; with `cut` only so many of the bytes announced."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        if self.server.gzipped and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = self.close_connection or cut is not None

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


class BranchApi(ThreadingHTTPServer):
    """`slices` by feed, date and revision, `manifests` by date; `asked` holds what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.manifests: dict[str, Any] = {}
        self.slices: dict[tuple[str, str, int], list[Any]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self.most_rows = 1000
        self.gzipped = False
        self.misbehave: Callable[[Asked], bool] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/kc001"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def serving(server: BranchApi, tls: ssl.SSLContext | None = None) -> Iterator[BranchApi]:
    """The server, answering for the length of the block."""
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
