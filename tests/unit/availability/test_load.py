import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sandbox.ports import LOOPBACK
from tests.availability import load as load_module
from tests.availability.connection import Address
from tests.availability.load import KEPT, Load
from tests.support.wait import eventually

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
CLOSING = b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
PENDING = b""
REFUSED = b"HTTP/1.0 503 Service Unavailable\r\n\r\nno server is available"


class Server:
    """HTTP server with one answer; None closes the connection instead, and PENDING leaves it open without an answer."""

    def __init__(self) -> None:
        self.answer: Callable[[int], bytes | None] = lambda _: ACCEPTED
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(b'{"some": "event"}'))
                self.requests.append(request)
                answer = self.answer(len(self.requests))
                writer.write(answer or b"")
                if answer is None or answer not in {ACCEPTED, PENDING} or b"Connection: close" in request:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def loaded(*, fresh_share: float = 0.5) -> AsyncIterator[tuple[Server, Load]]:
    server = Server()
    async with await asyncio.start_server(server.serve, LOOPBACK, 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        load = Load(
            Address.of(f"http://{LOOPBACK}:{port}/events"), api_key="key", rate_per_s=400, fresh_share=fresh_share
        )
        load.start()
        try:
            yield server, load
        finally:
            await load.stop()


@pytest.mark.timed  # a late load opens many connections at once
async def test_some_requests_open_a_connection_and_the_others_share_kept_ones() -> None:
    async with loaded(fresh_share=0.25) as (server, load):
        await eventually(lambda: len(load.answers) >= 200, what="200 answers")
    assert not load.refused
    fresh = sum(b"Connection: close" in request for request in server.requests)
    assert abs(fresh / len(server.requests) - 0.25) < 0.02
    assert server.connections - fresh <= 2 * KEPT
    assert len(set(load.accepted)) == len(server.requests)


async def test_every_answer_but_202_is_refused_and_no_request_is_sent_again() -> None:
    async with loaded() as (server, load):
        server.answer = lambda number: (ACCEPTED, CLOSING, REFUSED, None)[number % 4]
        await eventually(lambda: len(load.answers) >= 200, what="200 answers")
    assert set(load.problems) == {"503", "no answer: closed"}
    assert len(server.requests) == len(load.answers)
    assert abs(len(load.refused) - len(load.accepted)) <= 2


async def test_a_server_that_does_not_listen_refuses_every_request() -> None:
    load = Load(Address.of(f"http://{LOOPBACK}:1/events"), api_key="key", rate_per_s=200)
    load.start()
    await eventually(lambda: len(load.answers) >= 20, what="20 answers")
    await load.stop()
    assert set(load.problems) == {"no connection: ConnectionRefusedError"}


@pytest.mark.timed
async def test_the_rate_can_change_while_the_load_runs() -> None:
    async with loaded() as (_, load):
        await asyncio.sleep(0.5)
        load.rate_per_s = 50
        before, began_s = len(load.answers), time.monotonic()
        await asyncio.sleep(1)
        assert 30 <= (len(load.answers) - before) / (time.monotonic() - began_s) <= 75


async def test_a_request_beyond_the_limit_of_open_ones_is_not_sent_and_counts_as_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load_module, "IN_FLIGHT_MAX", 5)
    monkeypatch.setattr(load_module, "ANSWER_WITHIN_S", 0.5)
    async with loaded() as (server, load):
        server.answer = lambda _: PENDING
        await eventually(lambda: len(load.refused) >= 20, what="20 refused events")
    assert load.problems["not sent: 5 requests had no answer"] >= 10
    assert len(server.requests) <= 5 + load.problems["no answer within 0.5 s"]
