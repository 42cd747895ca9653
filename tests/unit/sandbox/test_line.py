"""The line to the broker that can be cut and blocked, with an echo at its other end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from sandbox.broker.line import Line
from sandbox.ports import LOOPBACK, free_port

SILENCE_S = 0.1
END = b""


@dataclass(slots=True, kw_only=True)
class Echo:
    """One connection through a line to whatever sends back what it gets."""

    line: Line
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ends: list[asyncio.StreamWriter]
    """The other end of each connection."""

    async def sends_back(self, word: bytes) -> bool:
        self.writer.write(word)
        return await self.hear() == word

    async def hear(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.read(100)

    async def is_silent(self) -> bool:
        try:
            async with asyncio.timeout(SILENCE_S):
                await self.reader.read(100)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    ends: list[asyncio.StreamWriter] = []
    served = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        while word := await reader.read(100):
            writer.write(word)
        writer.close()
        served.set()

    server = await asyncio.start_server(answer, LOOPBACK, free_port())
    port = server.sockets[0].getsockname()[1]
    async with Line(f"amqp://guest:guest@{LOOPBACK}:{port}/") as line:
        reader, writer = await asyncio.open_connection(LOOPBACK, urlsplit(line.url).port)
        yield Echo(line=line, reader=reader, writer=writer, ends=ends)
        line.unblock()
        writer.close()
        await served.wait()
    for end in (writer, *ends):
        with suppress(ConnectionError):
            await end.wait_closed()  # else its socket is left to the garbage collector, in the middle of another test
    server.close()


async def test_a_blocked_line_carries_nothing_and_then_all_of_it(echo: Echo) -> None:
    assert await echo.sends_back(b"before")
    echo.line.block()
    echo.writer.write(b"meanwhile")
    assert await echo.is_silent()
    echo.line.unblock()
    assert await echo.hear() == b"meanwhile"


async def test_a_blocked_line_does_not_tell_that_the_other_end_is_gone(echo: Echo) -> None:
    assert await echo.sends_back(b"before")
    echo.line.block()
    echo.ends[0].close()
    assert await echo.is_silent()
    echo.line.unblock()
    assert await echo.hear() == END


async def test_a_cut_line_ends_its_connections_and_refuses_new_ones(echo: Echo) -> None:
    assert await echo.sends_back(b"before")
    await echo.line.cut()
    assert await echo.hear() == END
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, urlsplit(echo.line.url).port)
