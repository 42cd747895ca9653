"""A TCP proxy in front of PostgreSQL that loses a COMMIT, or the answer to it, and the connection with it."""

import asyncio
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""The message of a COMMIT: its type, its length, and its text."""


class Loss(Enum):
    """The part of a COMMIT that is lost."""

    NONE = "nothing"
    REQUEST = "the COMMIT, so that the server gives up the transaction"
    ANSWER = "the answer, after the transaction is committed"
    RACE = "the answer, perhaps before the transaction is committed"


class PostgresProxy:
    """Forwards a free port of loopback to a server while its context is open.

    Attributes:
        losses: Treatment of the next COMMITs, the first one first; nothing is lost after them.
        delay_s: Added to each piece in both directions.
        commits: Number of COMMITs that were seen.
    """

    def __init__(self, server_url: str) -> None:
        self._upstream = urlsplit(server_url)
        self._connections: set[asyncio.Task[None]] = set()
        self.losses: list[Loss] = []
        self.delay_s = 0.0
        self.commits = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login = self._upstream.netloc.rpartition("@")[0]
        self.url = self._upstream._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server: asyncio.StreamWriter | None = None
        with suppress(OSError):
            try:
                from_server, to_server = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
                await self._carry(reader, writer, from_server, to_server)
            finally:
                for end in (writer, to_server):
                    if end is not None:
                        end.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        """Carry the pieces of one connection until one of its sides ends, or until it is to be lost."""
        answers = asyncio.create_task(self._copy(from_server, writer))
        try:
            while piece := await reader.read(65536):
                loss = Loss.NONE
                if piece.endswith(COMMIT):
                    self.commits += 1
                    loss = self.losses.pop(0) if self.losses else Loss.NONE
                if loss is Loss.REQUEST:
                    return
                if loss is not Loss.NONE:
                    answers.cancel()
                    await asyncio.wait([answers])
                await asyncio.sleep(self.delay_s)
                to_server.write(piece)
                await to_server.drain()
                if loss is Loss.ANSWER:
                    await from_server.read(65536)
                if loss is not Loss.NONE:
                    return
        finally:
            answers.cancel()
            await asyncio.wait([answers])

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                await asyncio.sleep(self.delay_s)
                writer.write(piece)
                await writer.drain()
            writer.transport.abort()
