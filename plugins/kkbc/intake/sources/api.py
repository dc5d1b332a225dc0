"""The API of one branch, asked with patience: what is worth another try and what is not (branch exchange, API)."""

import re
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpcore
import httpx

from kkbc.core import clock
from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.intake.sources.base import OneRefused, OneUnavailable
from kkbc.intake.sources.bounds import Bounds, Deadline
from kkbc.intake.sources.timed import TimedNetwork

_T = TypeVar("_T")

_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 1 << 20
_PASSING = (408, 425, 429)


@dataclass(frozen=True)
class Patience:
    """How patient a visit is with a branch, and how often it tries."""

    connect_seconds: float = 10
    read_seconds: float = 60
    """Without a byte from the branch."""
    answer_seconds: float = 240
    """For one answer, from connecting to its last byte, however slowly it drips and whatever comes before it."""
    wait_seconds: float = 120
    """That a branch may ask for with Retry-After, all in all."""
    pause_seconds: float = 1
    """Before another try, twice as long each further time; and the shortest wait, whatever Retry-After says."""
    tries: int = 3
    """Of a request that is answered with a failure of the branch's, half, or with what is no answer."""
    starts: int = 4
    """Of a slice whose cursor expires."""
    answer_bytes: int = 8 << 20
    """Of one answer, unfolded. A thousand rows take one megabyte; in memory JSON may become thirty times as much."""


class NotThere(Exception):
    """404: the API does not know it."""


class Expired(Exception):
    """410: what the cursor pointed into is gone."""


class Unwilling(Exception):
    """Another status of 4xx, which is the text: the API does not do what was asked."""


class Failing(OneUnavailable):
    """5xx, or what comes to the same, to every try: the API cannot do what was asked."""


class Unintelligible(Exception):
    """An answer that came whole and is none. `content` is what came of it."""

    def __init__(self, problem: str, content: bytes) -> None:
        self.content = content
        super().__init__(problem)


class _Again(Exception):
    """Worth another try: after `wait` seconds where the branch asked for that, else as often as patience allows."""

    def __init__(self, error: Exception, wait: float | None = None) -> None:
        self.error = error
        self.wait = wait


class Api:
    """The API of a branch, at the host (or schema, host and port) of `connection`, whose password is the bearer token.

    `verify` in its extra may be false, or a file of certificate authorities. `name` stands for the branch in errors.
    Raises BranchRefused for a connection that lacks something. Asks with GET and nothing else, straight, whatever
    proxies the environment names. `deadline` is that of the visit.
    """

    def __init__(self, name: str, connection: Connection, patience: Patience, deadline: Deadline | None = None) -> None:
        connection.need("host", "password")
        self.patience = patience
        self.deadline = deadline or Bounds().deadline
        self._network = TimedNetwork(self.deadline)
        self._waited = 0.0
        try:
            self._base = _base_address(connection)
            verify = connection.extra.get("verify", True)
            self._client = httpx.Client(
                headers={
                    "Authorization": f"Bearer {connection.password}",
                    "Accept": "application/json",
                    "Accept-Encoding": "gzip",
                },
                timeout=httpx.Timeout(patience.read_seconds, connect=patience.connect_seconds),
                transport=_Transport(
                    self._network,
                    ssl.create_default_context(cafile=verify)
                    if isinstance(verify, str)
                    else httpx.create_ssl_context(bool(verify)),
                ),
                follow_redirects=False,  # which would carry the token to where they lead
            )
        except (httpx.InvalidURL, OSError, ValueError) as error:  # whose text may hold the token
            raise BranchRefused(
                f"{name}: Airflow connection {connection.conn_id!r} cannot be used ({type(error).__name__})",
                "check its address, token and extra.verify",
            ) from None
        self.place = f"{name} at {self._base.netloc.decode()}"

    def ask(
        self, path: str, query: dict[str, str], parse: Callable[[bytes], _T], answer_bytes: int | None = None
    ) -> _T:
        """What `parse` makes of the answer; it raises ValueError or RecursionError for what is no answer.

        `answer_bytes` is what this answer may have, where that is less than patience allows.

        Raises NotThere, Expired, Unwilling, Failing, Unintelligible; BranchRefused, BranchUnavailable, BranchTimeout.
        """
        failures = 0
        while True:
            try:
                return self._ask_once(path, query, parse, answer_bytes or self.patience.answer_bytes)
            except _Again as again:
                if again.wait is not None:
                    self._wait(again.wait)
                    continue
                failures += 1
                if failures >= self.patience.tries:
                    raise again.error from None
            self._sleep(self.patience.pause_seconds * 2 ** (failures - 1))

    def close(self) -> None:
        """Gives the connection back."""
        self._client.close()

    def _ask_once(self, path: str, query: dict[str, str], parse: Callable[[bytes], _T], most: int) -> _T:
        self.deadline.check(self.place)
        url = self._base.copy_with(path=f"{self._base.path.rstrip('/')}/v1/{path}", params=query)
        self._network.deadline = self.deadline.within(self.patience.answer_seconds)
        try:
            with self._client.stream("GET", url) as response:
                content = b"".join(self._read(response, most))
        except httpx.HTTPError as error:
            raise self._failure(error) from None
        except (zlib.error, EOFError):
            raise _Again(Unintelligible("the API answers with damaged gzip", b"")) from None
        self._check_status(response)
        try:
            return parse(content)
        except (ValueError, RecursionError):
            raise _Again(Unintelligible("the API answers with what is no such JSON", content)) from None

    def _check_status(self, response: httpx.Response) -> None:
        """Raises what the status says, unless it is that all went well."""
        status = response.status_code
        if response.is_success:
            return
        if status in (401, 403):
            raise BranchRefused(f"{self.place} refuses the token ({status})", "renew the password of its connection")
        if status == 404:
            raise NotThere
        if status == 410:
            raise Expired
        if status in _PASSING or status >= 500:
            wait = _retry_after(response.headers.get("Retry-After", "")) if status in (429, 503) else None
            raise _Again(Failing(f"{self.place} answers {status} each time"), wait)
        if status >= 400:
            raise Unwilling(str(status))
        raise OneRefused(
            f"{self.place} answers {status} and sends elsewhere", "give the address itself in its connection"
        )

    def _read(self, response: httpx.Response, most: int) -> Iterator[bytes]:
        """The content of an answer, unfolded, as long as it keeps to what is sensible in time and size."""
        encoding = response.headers.get("Content-Encoding", "").strip().lower() if response.is_success else ""
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise Unintelligible("the API answers in an encoding that was not asked for", b"")
        chunks = response.iter_raw()
        came = 0
        for piece in _gunzip(chunks) if encoding.endswith("gzip") else chunks:
            came += len(piece)
            if came > most:
                raise Unintelligible(f"the API answers with more than {most} bytes at once", b"")
            if not self._network.deadline.left:
                raise BranchTimeout(f"{self.place} did not finish an answer in {self.patience.answer_seconds:g} s")
            yield piece

    def _wait(self, seconds: float) -> None:
        seconds = max(seconds, self.patience.pause_seconds)
        self._waited += seconds
        if self._waited > self.patience.wait_seconds:
            raise OneUnavailable(
                f"{self.place} asks to be left alone for {seconds:g} s more,"
                f" of {self.patience.wait_seconds:g} s that a visit waits"
            )
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        """Waits, unless the visit is over before that."""
        if seconds > self.deadline.left:
            raise BranchTimeout(f"{self.place} asks for {seconds:g} s, the visit has {self.deadline.left:.0f} s left")
        time.sleep(seconds)

    def _failure(self, error: httpx.HTTPError) -> Exception:
        """What an error of the transport means. Texts of the library are left out: they may hold the token."""
        kind = type(error).__name__
        match error:
            case httpx.TimeoutException():
                return BranchTimeout(f"{self.place} does not answer in time ({kind})")
            case httpx.LocalProtocolError() | httpx.UnsupportedProtocol():
                return BranchRefused(f"{self.place} cannot be asked ({kind})", "check address and token")
            case httpx.ConnectError() if _is_about_certificates(error):
                return BranchRefused(
                    f"{self.place} shows a certificate that cannot be verified",
                    "renew it, or name its authority in extra.verify of the connection",
                )
            case httpx.ConnectError():
                return BranchUnavailable(f"{self.place} cannot be reached")
        return _Again(OneUnavailable(f"{self.place} broke off ({kind})"))


class _Transport(httpx.HTTPTransport):
    """httpx's own transport over a network of ours, which only the pool below it can be given."""

    def __init__(self, network: httpcore.NetworkBackend, ssl_context: ssl.SSLContext) -> None:
        super().__init__(verify=ssl_context)
        self._pool = httpcore.ConnectionPool(ssl_context, max_connections=1, network_backend=network)


def _base_address(connection: Connection) -> httpx.URL:
    host = connection.host
    url = httpx.URL(host if "://" in host else f"{connection.schema or 'https'}://{host}")
    if connection.port is not None and url.port is None:
        url = url.copy_with(port=connection.port)
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise ValueError("no address of an API")
    return url


def _retry_after(value: str) -> float | None:
    """Seconds to wait, given as a number or as the date until when; None for anything else."""
    if re.fullmatch("[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - clock.now().timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Unfolds gzip in pieces of bounded size. Raises zlib.error for damage, EOFError for an end that is missing."""
    unfolder = zlib.decompressobj(_GZIP)
    came = False
    for chunk in chunks:
        while chunk:
            came = True
            if unfolder.eof:
                unfolder = zlib.decompressobj(_GZIP)
            yield unfolder.decompress(chunk, _PIECE)
            chunk = unfolder.unused_data or unfolder.unconsumed_tail
    yield unfolder.flush(_PIECE)
    if came and not unfolder.eof:
        raise EOFError


def _is_about_certificates(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
