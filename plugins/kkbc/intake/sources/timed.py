"""A network on which nothing waits beyond a deadline: what the clients of APIs and of object stores connect by."""

import ssl
from typing import Any

import httpcore

from kkbc.intake.sources.bounds import Deadline, addresses


class TimedNetwork(httpcore.NetworkBackend):
    """Connects, and lets nothing on a connection wait beyond `deadline`, whatever the time-out of a single step.

    So a time-out is one of the whole answer: its headers, and all that may come before them, included.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self._plain = httpcore.SyncBackend()

    def left(self, timeout: float | None) -> float:
        """Seconds that a step may take. Raises ReadTimeout when there are none."""
        if not self.deadline.left:
            raise httpcore.ReadTimeout("the answer took too long")
        return max(0.001, self.deadline.left if timeout is None else min(timeout, self.deadline.left))

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *arguments: Any, **named: Any
    ) -> httpcore.NetworkStream:
        """See NetworkBackend. A name with many addresses has the time of one."""
        until = Deadline(self.left(timeout))
        failure: Exception = httpcore.ConnectError("no address")
        try:
            found = addresses(host, port, until)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from None
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None
        for address in found:
            try:
                stream = self._plain.connect_tcp(address, port, max(0.001, until.left), *arguments, **named)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A connection whose steps end with the deadline of its network."""

    def __init__(self, stream: httpcore.NetworkStream, network: TimedNetwork) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See NetworkStream."""
        return self._stream.read(max_bytes, self._network.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See NetworkStream."""
        self._stream.write(buffer, self._network.left(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """See NetworkStream."""
        left = self._network.left(timeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._network)

    def get_extra_info(self, info: str) -> Any:
        """See NetworkStream."""
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        """See NetworkStream."""
        self._stream.close()
