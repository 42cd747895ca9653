"""A TCP line to the broker that can be cut or blocked: the broker is away for its users only."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from sandbox.ports import LOOPBACK, free_port


class Line:
    """Forwards a port on loopback to a broker. Use it as an async context manager."""

    def __init__(self, broker_url: str) -> None:
        broker = urlsplit(broker_url)
        self._broker = broker.hostname, broker.port or 5672
        self._port = free_port()
        self.url = broker._replace(netloc=f"{broker.username}:{broker.password}@{LOOPBACK}:{self._port}").geturl()
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Accept connections, also after `cut`."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port)

    async def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    @property
    def connections(self) -> int:
        """Number of connections that are open now."""
        return len(self._connections)

    def block(self) -> None:
        """Carry nothing in either direction. Connections stay open, and even the end of one is held back."""
        self._flowing.clear()

    def unblock(self) -> None:
        """Undo `block`: the bytes that were held back follow."""
        self._flowing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_broker: asyncio.StreamWriter | None = None
        try:
            from_broker, to_broker = await asyncio.open_connection(*self._broker)
            copies = [
                asyncio.create_task(self._copy(reader, to_broker)),
                asyncio.create_task(self._copy(from_broker, writer)),
            ]
            try:
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copy in copies:
                    copy.cancel()
        finally:
            for end in (writer, to_broker):
                if end is not None:
                    end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await self._read(reader):
                writer.write(chunk)
                await writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next bytes, or none at the end of the stream or after a reset; wait while the line is blocked."""
        try:
            chunk = await reader.read(65536)
        except ConnectionError:
            chunk = b""
        await self._flowing.wait()
        return chunk
