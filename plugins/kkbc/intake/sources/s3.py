"""Kind `s3`: an object store with the S3 interface, of Amazon or of the branch's own.

All that goes into a request comes from the connection. What the environment, files in the user's folder or the
machine's metadata service may hold for somebody else's access is never looked at.
"""

import asyncio
import os
import re
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from aiohttp import ClientError as TransferError
from botocore.exceptions import (
    BotoCoreError,
    ConnectTimeoutError,
    EndpointProviderError,
    HTTPClientError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from s3fs import S3FileSystem

from kkbc.core.clock import day_of
from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.exchange.registry import Branch
from kkbc.intake.sources.bounds import MOST_DAYS, MOST_FILES, Bounds, Deadline
from kkbc.intake.sources.tree import BLOCK, CONNECT_SECONDS, READ_SECONDS, FileForbidden, FileGone, Hidden, Item

_T = TypeVar("_T")

_ROOT = re.compile(r"^s3://([^/]+)/?(.*)$")
# A request is tried once more before the branch counts as down; the run itself tries again later.
_ATTEMPTS = 2
# Of an answer that is no file: a thousand keys of the greatest length, and then some.
_ANSWER_BYTES = 4 << 20
_TOKEN_CHARACTERS = 8192
# Requests for one listing: twenty million files.
_PAGES = 20_000


class S3Tree:
    """`extra.root`/{branch_id}/{YYYY-MM-DD}/ in a bucket. See Tree.

    The file system runs on a loop of its own in the thread of the visit. That of fsspec would be a thread, which does
    not survive the forks that tasks run in.
    """

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
        self._fs = S3FileSystem(
            key=connection.login,
            secret=connection.password,
            endpoint_url=endpoint,
            client_kwargs={"region_name": str(connection.extra.get("region_name") or "us-east-1")},
            config_kwargs={
                "connect_timeout": connect_seconds,
                "read_timeout": read_seconds,
                "retries": {"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                # Stores of one's own seldom have a host name for each bucket.
                "s3": {
                    "addressing_style": connection.extra.get("addressing_style") or ("path" if endpoint else "auto")
                },
                # Not every store knows the newer checksums; the manifest has one of its own.
                "response_checksum_validation": "when_required",
                "http_session_cls": _BoundedSession,
            },
            session=_blind_session(),
            asynchronous=True,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self._fs.retries = 1  # those of the file system come on top of the client's
        self._runner = asyncio.Runner()

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
        with self._told():
            try:
                answer = self._call("get_object", Key=f"{self.prefix}{day}/{name}", Range=f"bytes=0-{most - 1}")
            except FileNotFoundError as error:
                if _code(error) == "NoSuchBucket":
                    raise
                raise FileGone from error
            except PermissionError as error:
                if _code(error) not in ("AccessDenied", "InvalidObjectState", "403"):
                    raise
                raise FileForbidden from error
            except OSError as error:
                if _code(error) not in ("InvalidRange", "416"):
                    raise
                return  # of nothing there is no first byte
        body = answer["Body"]
        try:
            while most:
                with self._told():
                    block = self._run(_fill(body, min(BLOCK, most)))
                if not block:
                    return
                most -= len(block)
                yield block
        finally:
            body.close()

    def close(self) -> None:
        """See Tree."""
        with suppress(BotoCoreError, TransferError, OSError):
            if self._fs._s3 is not None:
                self._runner.run(self._fs._s3.close())
        self._runner.close()

    def _keys(self, until: date) -> Iterator[tuple[str, str, str]]:
        """Day folder, rest of the name, and stamp of each object of the branch; a store lists them in order.

        Of a folder no more than one beyond MOST_FILES are listed, the next folder comes then.
        """
        more: dict[str, str] = {}
        last, count = "", 0
        for _ in range(_PAGES):
            with self._told():
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
        return self._run(self._fs._call_s3(operation, Bucket=self.bucket, **arguments))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What comes of it, in the time that the visit has left. Raises BranchTimeout."""

        async def in_time() -> _T:
            async with asyncio.timeout(self.deadline.left):
                return await work

        try:
            return self._runner.run(in_time())
        except TimeoutError:
            self.deadline.check(self.place)
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        mend = f"mend Airflow connection {self.connection.conn_id!r}, or have the branch permit listing and reading"
        try:
            yield
        except (BranchTimeout, BranchUnavailable, FileGone, FileForbidden):
            raise
        except FileNotFoundError as error:
            raise BranchRefused(f"{self.place} does not exist", mend) from error
        except (PermissionError, SSLError) as error:
            raise BranchRefused(f"{self.place} cannot be entered ({_code(error)})", mend) from error
        except (ConnectTimeoutError, ReadTimeoutError, TimeoutError) as error:
            raise BranchTimeout(f"{self.place} does not answer in time") from error
        except (
            ParamValidationError,
            EndpointProviderError,
            ValueError,
        ) as error:  # an address or a bucket's name that cannot be one
            raise BranchRefused(f"{self.place} cannot be asked for ({_code(error)})", mend) from error
        except (BotoCoreError, ResponseParserError, TransferError, OSError) as error:
            if _is_our_mistake(error):
                raise BranchRefused(f"{self.place} rejects the request ({_code(error)})", mend) from error
            raise BranchUnavailable(f"{self.place} cannot be read ({_code(error)})") from error


class _BoundedSession(AIOHTTPSession):  # type: ignore[misc]
    """Takes no answer in whole that is longer than a listing can be; files come in blocks."""

    async def send(self, request: Any) -> Any:
        """See AIOHTTPSession. Raises HTTPClientError for an answer without measure."""
        is_file, request.stream_output = request.stream_output, True  # else all of it is read there
        answer = await super().send(request)
        if not is_file or answer.status_code >= 300:
            answer._content = await _fill(answer.raw.content, _ANSWER_BYTES + 1)
            if len(answer._content) > _ANSWER_BYTES:
                answer.raw.close()
                raise HTTPClientError(error="an answer without measure")
        return answer


async def _fill(body: Any, size: int) -> bytes:
    """The next block of an answer, empty at its end. Raises when the end comes before the length announced."""
    block = bytearray()
    while len(block) < size and (piece := await body.read(size - len(block))):
        block += piece
    return bytes(block)


def _code(error: Exception) -> str:
    """What the store said, or what befell the request. The text of an error may repeat it, signature and all."""
    answer = getattr(error.__cause__, "response", None)
    return str(answer["Error"].get("Code")) if answer else type(error).__name__


def _is_our_mistake(error: Exception) -> bool:
    """Whether the store sends us elsewhere or finds fault with the request: asking again would not help."""
    answer = getattr(error.__cause__, "response", None)
    status = answer["ResponseMetadata"].get("HTTPStatusCode", 500) if answer else 500
    return 300 <= status < 500 and status not in (408, 429)


def _blind_session() -> AioSession:
    """A session that takes nothing from the environment or from files but a bundle of certificates to trust."""
    session = AioSession()
    for name, (_, _, default, conversion) in session.SESSION_VARIABLES.items():
        if name != "ca_bundle":
            session.session_var_map[name] = (None, None, default, conversion)
    for name in ("config_file", "credentials_file"):
        session.set_config_variable(name, os.devnull)
    session.set_config_variable("ignore_configured_endpoint_urls", True)
    return session
