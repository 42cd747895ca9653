"""A target below HTTP: reads requests well and answers with whatever bytes a test gives it."""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import unquote

_HEADER = re.compile(rb"(?im)^(idempotency-key|eventflow-attempt|content-length): *([^\r\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """A request that was read to its end.

    Attributes:
        connection: Number of its connection, from 0.
        number: Its number on that connection, from 0.
    """

    id: str
    attempt: int
    connection: int
    number: int
    at_s: float


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection."""

Answer = Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]
"""Writes the answer to a request; the connection goes on unless it was closed."""


@asynccontextmanager
async def serving(serve: Serve, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a target below HTTP, and end with the end of its last connection. Yield its port."""
    connections: set[asyncio.Task[None]] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.transport.abort()

    async with await asyncio.start_server(serve_one, host, 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*connections)


@dataclass(slots=True)
class RawTarget:
    """Listens on a free port of loopback while its context is open."""

    answer: Answer
    greeting: bytes = b""
    requests: list[RawRequest] = field(default_factory=list)
    url: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _serving: set["asyncio.Task[None] | None"] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            if task is not None:
                task.cancel()

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.requests]

    def of(self, event_id: str) -> list[RawRequest]:
        return [request for request in self.requests if request.id == event_id]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = len(self.writers)
        self.writers.append(writer)
        self._serving.add(asyncio.current_task())
        writer.write(self.greeting)
        number = 0
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # and that is the end
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                headers = {name.lower(): value for name, value in _HEADER.findall(head)}
                await reader.readexactly(int(headers[b"content-length"]))
                request = RawRequest(
                    id=unquote(headers[b"idempotency-key"].decode()),
                    attempt=int(headers[b"eventflow-attempt"]),
                    connection=connection,
                    number=number,
                    at_s=time.monotonic(),
                )
                self.requests.append(request)
                number += 1
                await self.answer(request, writer)
        writer.close()
