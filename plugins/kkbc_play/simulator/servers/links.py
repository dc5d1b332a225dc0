"""The lines to the branches: a port of its own for each, behind it the server of its kind, and what ails the line."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from kkbc_play.simulator.misbehaviour import Misbehaviour

HOST = "127.0.0.1"
_CHUNK = 65_536
# Greetings and key exchanges are smaller than this, so that what is cut is an answer.
_CUT_FROM = {"sftp": 4096}
_CUT_FROM_OTHERS = 1024


class Link:
    """Passes connections on from `port` to `upstream`. `how` says what the branch does just now."""

    def __init__(self, kind: str, port: int, upstream: int, how: Callable[[], Misbehaviour]) -> None:
        self.kind = kind
        self.port = port
        self.upstream = upstream
        self.how = how
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def stop(self) -> None:
        """Hangs up."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._talk(reader, writer)
        except OSError:
            _reset(writer)
        except asyncio.CancelledError:
            # The end of serving; the streams' own callback would report it as an error.
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self.how().name:
            case "down":
                _reset(writer)
                return
            case "hang":
                while await reader.read(_CHUNK):
                    pass
                return
        far_reader, far_writer = await asyncio.open_connection(HOST, self.upstream)
        try:
            there = asyncio.ensure_future(self._ask(reader, far_writer))
            back = asyncio.ensure_future(self._answer(far_reader, writer))
            try:
                await asyncio.gather(there, back)
            finally:
                there.cancel()
                back.cancel()
        finally:
            far_writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            how = self.how()
            if how.name == "slow":
                await asyncio.sleep(how.seconds)
            elif how.name in {"down", "hang"}:
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self.how().name == "half" and len(data) > _CUT_FROM.get(self.kind, _CUT_FROM_OTHERS):
                writer.write(data[: len(data) // 2])
                await writer.drain()
                writer.close()
                raise ConnectionAbortedError
            writer.write(data)
            await writer.drain()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection as a machine does that is not there: without a goodbye."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
