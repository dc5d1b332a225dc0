"""The S3 API of a world: one bucket, in which each branch may read below its own prefix. Served by moto."""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from kkbc_play.simulator.misbehaviour import Misbehaviour
from kkbc_play.simulator.servers.links import HOST

BUCKET = "kkbc-cabang"
PREFIX = "kiriman"
REGION = "us-east-1"
_REFUSE_EVERY = 5
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/s3/aws4_request,\s*"
    r"SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class KeyPair:
    """A branch's key pair."""

    branch_id: str
    access_key: str
    secret_key: str


class Bucket:
    """The deliveries below `root` as objects. What appears there is taken in when its branch is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: dict[Path, tuple[int, int]] = {}
        self._lock = Lock()
        self._backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._backend.reset()
        self._backend.create_bucket(BUCKET, REGION)

    def take_in(self, branch_id: str) -> None:
        """Puts what is new or changed in the branch's folder into the bucket."""
        with self._lock:
            for path in sorted((self.root / branch_id).glob("*/*")):
                if path.name.startswith("."):
                    continue
                status = path.stat()
                stamp = (status.st_size, status.st_mtime_ns)
                if self._seen.get(path) == stamp:
                    continue
                name = f"{PREFIX}/{path.relative_to(self.root).as_posix()}"
                key = self._backend.put_object(BUCKET, name, path.read_bytes())
                key.last_modified = datetime.fromtimestamp(status.st_mtime, UTC).replace(tzinfo=None)
                self._seen[path] = stamp


class Gate:
    """Before moto: who asks, what for, and whether the branch misbehaves. Only reading is let through."""

    def __init__(
        self, app: App, bucket: Bucket, pairs: Mapping[str, KeyPair], how: Callable[[str], Misbehaviour]
    ) -> None:
        self.app = app
        self.bucket = bucket
        self.pairs = pairs
        self.how = how
        self._asked: dict[str, int] = {}

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application."""
        pair, refusal = self._who(environ)
        if pair is None:
            return _error(environ, start_response, "403 Forbidden", refusal)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"} or not _may_read(environ, pair.branch_id):
            return _error(environ, start_response, "403 Forbidden", "AccessDenied")
        how = self.how(pair.branch_id)
        if how.name == "throttled":
            asked = self._asked[pair.branch_id] = self._asked.get(pair.branch_id, 0) + 1
            if how.always or asked % _REFUSE_EVERY == 1:
                return _error(environ, start_response, "503 Slow Down", "SlowDown", ("Retry-After", "1"))
        self.bucket.take_in(pair.branch_id)
        answer = self.app(environ, start_response)
        spoiled = how.name == "checksum" and _is_data(environ["PATH_INFO"]) and environ["REQUEST_METHOD"] == "GET"
        return _spoil(answer) if spoiled else answer

    def _who(self, environ: Environ) -> tuple[KeyPair | None, str]:
        found = _AUTHORIZATION.match(environ.get("HTTP_AUTHORIZATION", ""))
        pair = self.pairs.get(found["key"]) if found else None
        if found is None:
            return None, "AccessDenied"
        if pair is None:
            return None, "InvalidAccessKeyId"
        signature = _signature(environ, pair, found["region"], found["headers"].split(";"))
        return (pair, "") if hmac.compare_digest(signature, found["signature"]) else (None, "SignatureDoesNotMatch")


class S3Server:
    """moto behind the gate, in a thread of its own. Raises nothing after `start`."""

    def __init__(self, root: Path, pairs: Mapping[str, KeyPair], how: Callable[[str], Misbehaviour]) -> None:
        gate = Gate(create_backend_app("s3"), Bucket(root), pairs, how)
        self._server: BaseWSGIServer = make_server(HOST, 0, gate, threaded=True, request_handler=_QuietHandler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: the requests of a night would fill the terminal."""


def _signature(environ: Environ, pair: KeyPair, region: str, signed: list[str]) -> str:
    """What the signature must be for a request that the owner of the pair made."""
    names = {name: "HTTP_" + name.upper().replace("-", "_") for name in signed}
    names |= {name: name.upper().replace("-", "_") for name in signed if name in {"content-type", "content-length"}}
    headers = {name: environ.get(variable, "") for name, variable in names.items()}
    target = environ.get("RAW_URI") or environ["REQUEST_URI"]
    request = AWSRequest(environ["REQUEST_METHOD"], f"http://{environ['HTTP_HOST']}{target}", headers)
    request.context["timestamp"] = headers.get("x-amz-date", "")
    auth = S3SigV4Auth(Credentials(pair.access_key, pair.secret_key), "s3", region)
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


def _may_read(environ: Environ, branch_id: str) -> bool:
    """Objects below the branch's own prefix, lists of them, and what a client asks about the bucket itself."""
    bucket, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
    own = f"{PREFIX}/{branch_id}"
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if bucket != BUCKET or "location" in query or (environ["REQUEST_METHOD"] == "HEAD" and not key):
        return True
    return f"{key or query.get('prefix', [''])[0]}/".startswith(f"{own}/")


def _is_data(path: str) -> bool:
    name = path.rpartition("/")[2]
    return "." in name and not name.startswith("manifest")


def _spoil(answer: Iterable[bytes]) -> Iterable[bytes]:
    whole = b"".join(answer)
    return [bytes([whole[0] ^ 1]) + whole[1:]] if whole else []


def _error(
    environ: Environ, start_response: Callable[..., Any], status: str, code: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>'
    body = text.encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
