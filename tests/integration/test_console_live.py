"""Streams of live events over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from eventflow_console import live
from eventflow_console.live import STREAMS_MAX, Fragments, Streams
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.refusals import RequestRefusedError
from tests.support.wait import eventually


class Page:
    """A server with one stream for all paths, and its number of open streams."""

    def __init__(self, url: str, streams: Streams, stopping: asyncio.Event) -> None:
        self.url = url
        self.streams = streams
        self.stopping = stopping


@asynccontextmanager
async def serving(fragments: Callable[[], Fragments]) -> AsyncIterator[Page]:
    stopping = asyncio.Event()
    streams = Streams(stopping, ConsoleMetrics().streams.labels(kind="live"))

    async def stream(request: web.Request) -> web.StreamResponse:
        try:
            return await streams.serve(request, fragments())
        except RequestRefusedError as error:
            return web.Response(status=error.status, text=str(error), headers=error.headers)

    app = web.Application()
    app.router.add_get("/live", stream)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Page(f"http://127.0.0.1:{runner.addresses[0][1]}/live", streams, stopping)
    finally:
        await runner.cleanup()


async def numbers(pause_s: float = 0.0, end: int = 1_000_000) -> Fragments:
    for number in range(end):
        yield f"<b>{number}</b>"
        await asyncio.sleep(pause_s)


async def forever() -> Fragments:
    yield "first"
    await asyncio.Event().wait()


async def test_each_fragment_is_an_event_and_the_end_is_one_too(http: aiohttp.ClientSession) -> None:
    async with serving(lambda: numbers(end=3)) as page, http.get(page.url) as answer:
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        events = (await answer.text()).split("\n\n")
    assert events == [
        "retry: 3000",
        *(f"event: now\ndata: <b>{number}</b>" for number in range(3)),
        "event: end\ndata:",
        "",
    ]


async def test_a_quiet_stream_has_a_sign_of_life(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    async with serving(forever) as page, http.get(page.url) as answer:
        lines = [await answer.content.readline() for _ in range(8)]
    assert lines.count(b": alive\n") >= 2


async def test_a_stream_ends_by_itself_and_with_the_console(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(forever) as page, http.get(page.url) as answer:
        await answer.content.readline()
        page.stopping.set()
        async with asyncio.timeout(5):
            await answer.read()
    monkeypatch.setattr(live, "LIFETIME_S", 0.3)
    async with serving(forever) as page, http.get(page.url) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with asyncio.timeout(5):
                await answer.read()


async def test_there_are_at_most_64_streams_and_a_reader_that_leaves_makes_room(http: aiohttp.ClientSession) -> None:
    closed: list[int] = []

    async def watched() -> Fragments:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            closed.append(1)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as client, serving(watched) as page:
        answers = [await client.get(page.url) for _ in range(STREAMS_MAX)]
        async with client.get(page.url) as refused:
            assert refused.status == 503
            assert "Retry-After" in refused.headers
        answers[0].close()
        await eventually(lambda: page.streams._open < STREAMS_MAX, what="room")
        assert closed, "its view is no longer made"
        async with client.get(page.url) as admitted:
            assert admitted.status == 200
        for answer in answers:
            answer.close()
        await eventually(lambda: page.streams._open == 0, what="the end of all streams")


async def test_a_reader_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WRITE_MAX_S", 0.3)
    made = 0

    async def large() -> Fragments:
        nonlocal made
        while True:
            made += 1
            yield "x" * 100_000
            await asyncio.sleep(0)

    async with serving(large) as page:
        port = int(page.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await eventually(lambda: page.streams._open == 1, what="the stream")
        await eventually(lambda: page.streams._open == 0, what="its end")
        assert made * 100_000 < 64 * 1024 * 1024, "it is not kept in memory"
        taken = bytearray()
        with suppress(ConnectionError):
            while part := await reader.read(1_000_000):
                taken += part
        assert not taken.endswith(b"0\r\n\r\n"), "no orderly end"
        writer.close()
