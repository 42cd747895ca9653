"""A TCP proxy in front of PostgreSQL that loses or holds a statement, or the answer to it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
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


@dataclass(slots=True, eq=False)
class Hold:
    """Statements that are held, each on a connection of its own.

    Attributes:
        text: A part of these statements.
        is_answer: Whether the statement is forwarded and only the answer is held.
        count: Number of those that were held.
    """

    text: bytes
    is_answer: bool
    count: int = 0
    lifted: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_by(self) -> None:
        """Return when the hold is lifted."""
        self.count += 1
        await self.lifted.wait()


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Both sides of one connection."""

    from_client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    from_server: asyncio.StreamReader
    to_server: asyncio.StreamWriter


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
        self._holds: list[Hold] = []
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
        await self.cut()

    async def cut(self) -> None:
        """End the connections that are open now, on both sides, with everything that is held."""
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    @contextmanager
    def holding(self, text: bytes, *, answers: bool = False) -> Iterator[Hold]:
        """Hold the statements with a text, or the answers to them, while the context is open; then let them go on.

        The text must be in one piece with the beginning of its statement, as it is if a client waits for each answer.
        """
        hold = Hold(text, is_answer=answers)
        self._holds.append(hold)
        try:
            yield hold
        finally:
            self._holds.remove(hold)
            hold.lifted.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server: asyncio.StreamWriter | None = None
        with suppress(OSError):
            try:
                from_server, to_server = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
                await self._carry(Ends(reader, writer, from_server, to_server))
            finally:
                for end in (writer, to_server):
                    if end is not None:
                        end.transport.abort()

    async def _carry(self, ends: Ends) -> None:
        """Carry the pieces of one connection until one of its sides ends, or until it is to be lost."""
        answers = asyncio.create_task(self._copy_answers(ends))
        try:
            while piece := await ends.from_client.read(65536):
                loss, holds = self._loss_of(piece), [hold for hold in self._holds if hold.text in piece]
                for hold in holds:
                    if not hold.is_answer:
                        await hold.pass_by()
                if loss is Loss.REQUEST:
                    return
                held = [hold for hold in holds if hold.is_answer]
                if held or loss is not Loss.NONE:
                    answers.cancel()
                    await asyncio.wait([answers])
                await asyncio.sleep(self.delay_s)
                if ends.to_server.is_closing():  # a write would raise a RuntimeError on uvloop
                    return
                ends.to_server.write(piece)
                await ends.to_server.drain()
                if loss is Loss.ANSWER:
                    await ends.from_server.read(65536)
                if loss is not Loss.NONE:
                    return
                if held:
                    answers = asyncio.create_task(self._copy_answers(ends, held))
        finally:
            answers.cancel()
            await asyncio.wait([answers])

    def _loss_of(self, piece: bytes) -> Loss:
        if not piece.endswith(COMMIT):
            return Loss.NONE
        self.commits += 1
        return self.losses.pop(0) if self.losses else Loss.NONE

    async def _copy_answers(self, ends: Ends, holds: Sequence[Hold] = ()) -> None:
        """Carry the answers of the server, the first of them after the holds are lifted."""
        with suppress(OSError):
            while piece := await ends.from_server.read(65536):
                for hold in holds:
                    await hold.pass_by()
                holds = ()
                await asyncio.sleep(self.delay_s)
                if ends.to_client.is_closing():
                    return
                ends.to_client.write(piece)
                await ends.to_client.drain()
        ends.to_client.transport.abort()  # after a reset by the server too, for which the client would wait forever
