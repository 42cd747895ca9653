"""Streams of rows: bounded, and cut rather than ended if they are incomplete."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from eventflow.errors import HistoryUnavailableError
from eventflow_console import rows
from eventflow_console.api import attempts
from eventflow_console.rows import STREAMS_MAX
from tests.support.console import Console, console
from tests.support.wait import eventually

PATH = "/api/v1/attempts.ndjson"


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65536 + b"\n"
        await asyncio.sleep(0)


async def silent_after_one() -> AsyncIterator[bytes]:
    yield b"{}\n"
    await asyncio.Future()


async def failing_after_one() -> AsyncIterator[bytes]:
    yield b"{}\n"
    raise HistoryUnavailableError("the store is away")


async def failing_with_a_bug() -> AsyncIterator[bytes]:
    yield b"{}\n"
    raise RuntimeError("a bug")


@pytest.fixture
async def running() -> AsyncIterator[Console]:
    async with console() as running:
        yield running


def streams(running: Console) -> float:
    return running.counted("eventflow_console_streams", kind="rows")


def serve(monkeypatch: pytest.MonkeyPatch, source: object) -> None:
    monkeypatch.setattr(attempts, "_rows", lambda *_, **__: source())


async def test_a_client_that_leaves_ends_its_stream(running: Console, monkeypatch: pytest.MonkeyPatch):
    serve(monkeypatch, endless)
    async with running.client.get(running.url + PATH) as answer:
        await answer.content.readexactly(100_000)
        assert streams(running) == 1
    await eventually(lambda: streams(running) == 0, what="the end of the stream")


async def test_a_client_that_does_not_read_is_cut_off(running: Console, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "ROW_DEADLINE_S", 0.2)
    serve(monkeypatch, endless)
    async with running.client.get(running.url + PATH) as answer:
        await eventually(lambda: streams(running) == 0, what="the end of the stream")
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


@pytest.mark.parametrize("source", [failing_after_one, failing_with_a_bug, silent_after_one])
async def test_an_incomplete_stream_is_cut_and_not_ended(
    running: Console, monkeypatch: pytest.MonkeyPatch, source: object
):
    monkeypatch.setattr(rows, "ROW_DEADLINE_S", 0.2)
    serve(monkeypatch, source)
    async with running.client.get(running.url + PATH) as answer:
        assert answer.status == 200
        assert await answer.content.readline() == b"{}\n"
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()
    await eventually(lambda: streams(running) == 0, what="the end of the stream")
    assert (await running.get("/api/v1/openapi.json")).status == 200


async def test_streams_at_the_same_time_are_bounded(running: Console, monkeypatch: pytest.MonkeyPatch):
    serve(monkeypatch, silent_after_one)
    waiting = [asyncio.create_task(running.get(PATH)) for _ in range(STREAMS_MAX)]
    await eventually(lambda: streams(running) == STREAMS_MAX, what="all streams")
    refused = await running.get(PATH)
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await eventually(lambda: streams(running) == 0, what="the end of the streams")


async def test_the_end_of_the_console_cuts_a_stream(running: Console, monkeypatch: pytest.MonkeyPatch):
    serve(monkeypatch, endless)
    async with running.client.get(running.url + PATH) as answer:
        await answer.content.readexactly(1000)
        running.desk.stopping.set()
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
