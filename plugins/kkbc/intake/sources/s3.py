"""Kind `s3`: an object store with the S3 interface, of Amazon or of the branch's own.

All that goes into a request comes from the connection. What the environment, files in the user's folder or the
machine's metadata service may hold for somebody else's access is never looked at.
"""

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from functools import cache, cached_property
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

import httpcore
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    EndpointProviderError,
    HTTPClientError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import get_cert_path
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.session import Session

from kkbc.core.clock import day_of
from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.exchange.registry import Branch
from kkbc.intake.sources.bounds import MOST_DAYS, MOST_FILES, Bounds, Deadline
from kkbc.intake.sources.timed import TimedNetwork
from kkbc.intake.sources.tree import BLOCK, CONNECT_SECONDS, READ_SECONDS, FileForbidden, FileGone, Hidden, Item

_ROOT = re.compile(r"^s3://([^/]+)/?(.*)$")
# A request is tried once more before the branch counts as down; the run itself tries again later.
_ATTEMPTS = 2
# Of an answer that is no file: a thousand keys of the greatest length, and then some.
_ANSWER_BYTES = 4 << 20
_TOKEN_CHARACTERS = 8192
# Requests for one listing: twenty million files.
_PAGES = 20_000


class S3Tree:
    """`extra.root`/{branch_id}/{YYYY-MM-DD}/ in a bucket. Connects at the first call. See Tree."""

    def __init__(
        self,
        branch: Branch,
        connection: Connection,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        deadline: Deadline | None = None,
    ) -> None:
        self.deadline = deadline or Bounds().deadline
        connection.need("login", "password", "extra.root")
        match = _ROOT.match(str(connection.extra["root"]))
        if match is None:
            raise BranchRefused(
                f"extra.root of Airflow connection {connection.conn_id!r} names no bucket",
                "write it as s3://bucket/folder",
            )
        self.connection = connection
        self.bucket = match[1]
        self.prefix = "/".join(filter(None, (match[2].strip("/"), branch.branch_id))) + "/"
        endpoint = str(connection.extra.get("endpoint_url") or "") or None
        host = urlsplit(endpoint).netloc if endpoint else "Amazon"
        if "@" in host:
            raise BranchRefused(
                f"extra.endpoint_url of Airflow connection {connection.conn_id!r} holds a login",
                "put that into login and password of the connection",
            )
        self.place = f"bucket {self.bucket} of branch {branch.branch_id} at {host or 'no address'}"
        self.endpoint = endpoint
        self.seconds = {"connect": connect_seconds, "read": read_seconds, "write": read_seconds, "pool": None}

    def days(self, until: date) -> Iterator[tuple[date, list[Item] | Hidden]]:
        """See Tree. One listing, a thousand files a request, up to the last day that is wanted."""
        found = 0
        for name, keys in groupby(self._keys(until), key=lambda key: key[0]):
            if (day := day_of(name)) is None:
                continue
            found += 1
            if found > MOST_DAYS:
                raise BranchRefused(f"{self.place} has more than {MOST_DAYS} days", "have the branch clear them away")
            items = [Item(file, stamp) for _, file, stamp in keys if file and "/" not in file]
            yield day, Hidden.CROWDED if len(items) > MOST_FILES else items

    def read(self, day: date, name: str, most: int) -> Iterator[bytes]:
        """See Tree."""
        if not most:
            return
        with self._as_branch_errors():
            try:
                answer = self._call("get_object", Key=f"{self.prefix}{day}/{name}", Range=f"bytes=0-{most - 1}")
            except ClientError as error:
                if _code(error) in ("InvalidRange", "416"):
                    return  # of nothing there is no first byte
                if _status(error) == 404 and _code(error) != "NoSuchBucket":
                    raise FileGone from error
                if _code(error) in ("AccessDenied", "InvalidObjectState", "403"):
                    raise FileForbidden from error
                raise
        with closing(answer["Body"]) as body:
            while most:
                with self._as_branch_errors():
                    block = body.read(min(BLOCK, most))
                if not block:
                    return
                most -= len(block)
                yield block

    def close(self) -> None:
        """See Tree."""
        if "_client" in vars(self):
            self._client.close()
            self._line.close()

    def _keys(self, until: date) -> Iterator[tuple[str, str, str]]:
        """Day folder, rest of the name, and stamp of each object of the branch; a store lists them in order.

        Of a folder no more than one beyond MOST_FILES are listed, the next folder comes then.
        """
        more: dict[str, str] = {}
        last, count = "", 0
        for _ in range(_PAGES):
            with self._as_branch_errors():
                page = self._call("list_objects_v2", Prefix=self.prefix, **more)
            more = {"ContinuationToken": str(page.get("NextContinuationToken"))}
            for item in page.get("Contents", ()):
                folder, _, file = str(item.get("Key", "")).removeprefix(self.prefix).partition("/")
                if folder > until.isoformat():
                    return
                if folder < last:
                    raise BranchUnavailable(f"{self.place} lists its files in no order")
                last, count = folder, count + 1 if folder == last else 1
                if count > MOST_FILES + 1:
                    more = {"StartAfter": f"{self.prefix}{folder}0"}  # the character behind the slash
                    break
                yield folder, file, f"{item.get('Size')}:{item.get('ETag')}"
            if not page.get("IsTruncated") and "StartAfter" not in more:
                return
            if len(more.get("ContinuationToken", "")) > _TOKEN_CHARACTERS:
                break
        raise BranchUnavailable(f"{self.place} lists its files without an end")

    def _call(self, operation: str, **arguments: str) -> Any:
        self.deadline.check(self.place)
        return getattr(self._client, operation)(Bucket=self.bucket, **arguments)

    @cached_property
    def _client(self) -> Any:
        session = _blind_session()
        self._line = _Line(self.deadline, self.seconds, session.get_config_variable("ca_bundle") or get_cert_path(True))
        client = session.create_client(
            "s3",
            aws_access_key_id=self.connection.login,
            aws_secret_access_key=self.connection.password,
            endpoint_url=self.endpoint,
            region_name=str(self.connection.extra.get("region_name") or "us-east-1"),
            config=Config(
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                # Stores of one's own seldom have a host name for each bucket.
                s3={
                    "addressing_style": self.connection.extra.get("addressing_style")
                    or ("path" if self.endpoint else "auto")
                },
                # Not every store knows the newer checksums; the manifest has one of its own.
                response_checksum_validation="when_required",
            ),
        )
        client.meta.events.register("before-send.s3", self._line.send)
        return client

    @contextmanager
    def _as_branch_errors(self) -> Iterator[None]:
        remedy = f"fix Airflow connection {self.connection.conn_id!r}, or have the branch permit listing and reading"
        try:
            yield
        except ClientError as error:
            raise self._refusal(error, remedy) from error
        except SSLError as error:
            raise BranchRefused(f"{self.place} cannot be entered ({_code(error)})", remedy) from error
        except (ConnectTimeoutError, ReadTimeoutError) as error:
            self.deadline.check(self.place)
            raise BranchTimeout(f"{self.place} does not answer in time") from error
        except (
            ParamValidationError,
            EndpointProviderError,
            ValueError,
        ) as error:  # an address or a bucket's name that cannot be one
            raise BranchRefused(f"{self.place} cannot be asked for ({_code(error)})", remedy) from error
        except (BotoCoreError, ResponseParserError, OSError) as error:
            raise BranchUnavailable(f"{self.place} cannot be read ({_code(error)})") from error

    def _refusal(self, error: ClientError, remedy: str) -> BranchRefused | BranchTimeout | BranchUnavailable:
        """What an answer means that is not the one asked for: whether asking again would help."""
        match _status(error):
            case 404:
                return BranchRefused(f"{self.place} does not exist", remedy)
            case 401 | 403:
                return BranchRefused(f"{self.place} cannot be entered ({_code(error)})", remedy)
            case 400 if _code(error) == "RequestTimeout":
                return BranchTimeout(f"{self.place} does not answer in time")
            case status if 300 <= status < 500 and status not in (408, 429):
                return BranchRefused(f"{self.place} rejects the request ({_code(error)})", remedy)
        return BranchUnavailable(f"{self.place} cannot be read ({_code(error)})")


class _Line:
    """Sends the requests that botocore signs, straight, on connections that end with the visit.

    Those of botocore itself have a time for each step alone, which an answer in drips never exceeds.
    """

    def __init__(self, deadline: Deadline, seconds: dict[str, float | None], certificates: str) -> None:
        self._seconds = seconds
        authorities = ssl.create_default_context(cafile=certificates)
        self._pool = httpcore.ConnectionPool(authorities, max_connections=1, network_backend=TimedNetwork(deadline))

    def send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """The answer, of which a file is still to be read. Raises errors of botocore, whose rules tell what is retried.

        See botocore's event before-send.
        """
        parts = urlsplit(request.url)
        host = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
        with _as_of_botocore(request.url):
            answer = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    request.url,
                    headers=[("Host", host), *request.headers.items()],
                    extensions={"timeout": self._seconds},
                )
            )
        is_file = request.stream_output and answer.status < 300
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        return AWSResponse(request.url, answer.status, headers, _Content(answer, request.url, is_file))

    def close(self) -> None:
        """Gives the connection back."""
        self._pool.close()


class _Content:
    """The content of an answer, as botocore reads it: files in blocks, anything else in whole and within bounds."""

    def __init__(self, answer: httpcore.Response, url: str, is_file: bool) -> None:
        self._answer = answer
        self._url = url
        self._is_file = is_file
        self._chunks = answer.iter_stream()
        self._rest = b""

    def read(self, size: int) -> bytes:
        """The next bytes, no more than `size`; none at the end."""
        with _as_of_botocore(self._url):
            self._rest = self._rest or next(self._chunks, b"")
        block, self._rest = self._rest[:size], self._rest[size:]
        return block

    def stream(self) -> Iterator[bytes]:
        """All of it. Raises HTTPClientError for an answer without measure: no listing is as long."""
        came = 0
        with closing(self):
            while block := self.read(BLOCK):
                came += len(block)
                if came > _ANSWER_BYTES and not self._is_file:
                    raise HTTPClientError(error="an answer without measure")
                yield block

    def close(self) -> None:
        """Gives the connection back, for the next request when all of the answer was read."""
        self._answer.close()


@contextmanager
def _as_of_botocore(url: str) -> Iterator[None]:
    """Turns the errors of a connection into those that botocore knows."""
    try:
        yield
    except httpcore.ConnectTimeout as error:
        raise ConnectTimeoutError(endpoint_url=url) from error
    except httpcore.TimeoutException as error:
        raise ReadTimeoutError(endpoint_url=url) from error
    except httpcore.ConnectError as error:
        kind = SSLError if isinstance(error.__cause__, ssl.SSLError) else EndpointConnectionError
        raise kind(endpoint_url=url, error="") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise HTTPClientError(error=type(error).__name__) from error


def _code(error: Exception) -> str:
    """What the store said, or what befell the request. The text of an error may repeat it, signature and all."""
    return str(error.response["Error"].get("Code")) if isinstance(error, ClientError) else type(error).__name__


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"].get("HTTPStatusCode", 500))


@cache
def _models() -> Loader:
    """botocore's description of S3, read once a process: each session would read it again, which takes 60 ms of CPU."""
    return Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


def _blind_session() -> Session:
    """A session that takes nothing from the environment or from files but a bundle of certificates to trust."""
    session = Session()
    session.register_component("data_loader", _models())
    for name, (_, _, default, conversion) in session.SESSION_VARIABLES.items():
        if name != "ca_bundle":
            session.session_var_map[name] = (None, None, default, conversion)
    for name in ("config_file", "credentials_file"):
        session.set_config_variable(name, os.devnull)
    session.set_config_variable("ignore_configured_endpoint_urls", True)
    return session
