"""One connection without sockets: the memory of the bytes that it cannot read yet, and its end before a stop."""

import asyncio
from typing import Any

import pytest

from eventflow.network.connection_limit import ConnectionLimit
from eventflow_collector.head import Head
from eventflow_collector.ingest import Exchange
from eventflow_collector.intake.budget import ByteBudget
from eventflow_collector.responses import Response, accepted
from eventflow_collector.server.closing import Closing
from eventflow_collector.server.connection import STALLED_MAX_S, UNANSWERED_MAX, Connection, Shared

REQUEST = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
BEYOND = 8


class Transport(asyncio.Transport):
    """A socket that keeps all that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_aborted = False
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.is_closed = True


class Rest(asyncio.Protocol):
    """The protocol that gets the rest of a connection, in the place of aiohttp's."""

    def __init__(self) -> None:
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data


class Reception:
    """A request that waits for its answer."""

    def __init__(self, exchange: Exchange, *, is_quick: bool) -> None:
        self.exchange = exchange
        self.is_quick = is_quick
        self.response: Response | None = None

    def receive(self, *_: object, **__: object) -> None:
        if self.is_quick:
            self.end()

    def end(self) -> None:
        self.exchange.answer(self, accepted(["1"], is_batch=False))  # type: ignore[arg-type]  # the part that is used


class Ingest:
    """Begins to receive all requests; it answers them at once if it is quick."""

    def __init__(self) -> None:
        self.is_quick = False
        self.receptions: list[Reception] = []

    def begin(self, _: Head, exchange: Exchange) -> Reception:
        self.receptions.append(Reception(exchange, is_quick=self.is_quick))
        return self.receptions[-1]


class Bench:
    """A connection between a socket and requests that end when the test ends them."""

    def __init__(self, *, limit_bytes: int) -> None:
        self.ingest = Ingest()
        self.budget = ByteBudget(limit_bytes)
        self.crashes: list[BaseException] = []
        self.rest = Rest()
        self.closing = Closing()
        shared = Shared(
            self.ingest,  # type: ignore[arg-type]  # the part that a connection uses
            budget=self.budget,
            limit=ConnectionLimit(1),
            closing=self.closing,
            to_aiohttp=lambda: self.rest,  # type: ignore[arg-type, return-value]
            on_crash=self.crashes.append,
        )
        self.connection = Connection(shared)
        self.transport = Transport()
        self.connection.connection_made(self.transport)


@pytest.fixture
async def bench() -> Bench:
    return Bench(limit_bytes=10_000)


async def test_requests_beyond_the_unanswered_ones_are_counted_until_they_are_read(bench: Bench) -> None:
    bench.connection.data_received(REQUEST * (UNANSWERED_MAX + BEYOND))
    assert bench.budget.held_bytes == BEYOND * len(REQUEST)
    for number in range(UNANSWERED_MAX + BEYOND):
        bench.ingest.receptions[number].end()
    assert bench.budget.held_bytes == 0
    assert bench.transport.written.count(b"HTTP/1.1 202 ") == UNANSWERED_MAX + BEYOND
    assert bench.crashes == []


async def test_requests_beyond_the_unanswered_ones_are_not_counted_after_the_end(bench: Bench) -> None:
    bench.connection.data_received(REQUEST * (UNANSWERED_MAX + BEYOND))
    bench.connection.connection_lost(None)
    assert bench.budget.held_bytes == 0


async def test_without_room_for_further_requests_aiohttp_gets_them_after_the_answers() -> None:
    bench = Bench(limit_bytes=BEYOND)
    bench.connection.data_received(REQUEST * (UNANSWERED_MAX + BEYOND))
    assert bench.budget.held_bytes == 0
    for reception in bench.ingest.receptions:
        assert bench.rest.received == b""
        reception.end()
    assert bench.transport.written.count(b"HTTP/1.1 202 ") == UNANSWERED_MAX
    assert bench.rest.received == REQUEST * BEYOND
    assert bench.crashes == []


@pytest.mark.parametrize("limit_bytes", [10_000, BEYOND])  # the second leaves the requests to aiohttp, uncounted
async def test_a_peer_that_does_not_read_its_answers_cannot_hold_the_memory_of_others(limit_bytes: int) -> None:
    bench = Bench(limit_bytes=limit_bytes)
    bench.connection.data_received(REQUEST * (UNANSWERED_MAX + BEYOND))
    bench.connection.pause_writing()
    bench.connection.check(bench.connection.stalled_since_s + STALLED_MAX_S - 1, idle_max_s=75)
    assert not bench.transport.is_aborted
    bench.connection.check(bench.connection.stalled_since_s + STALLED_MAX_S + 1, idle_max_s=75)
    assert bench.transport.is_aborted
    assert bench.budget.held_bytes == 0


async def test_a_peer_that_reads_slowly_is_not_cut_while_nothing_is_kept_for_it(bench: Bench) -> None:
    bench.connection.data_received(REQUEST)
    bench.connection.pause_writing()
    bench.connection.check(bench.connection.stalled_since_s + STALLED_MAX_S + 1, idle_max_s=75)
    assert not bench.transport.is_aborted


async def test_before_a_stop_only_the_last_answer_that_is_due_closes_the_connection(bench: Bench) -> None:
    bench.connection.data_received(REQUEST * 3)
    bench.closing.has_begun = True
    for reception in bench.ingest.receptions:
        assert b"Connection: close" not in bench.transport.written
        reception.end()
    assert bench.transport.written.count(b"HTTP/1.1 202 ") == 3
    assert bench.transport.written.rpartition(b"HTTP/1.1 202 ")[2].count(b"Connection: close\r\n") == 1
    assert bench.transport.is_closed
    assert bench.crashes == []


async def test_before_a_stop_requests_behind_one_that_is_answered_at_once_are_answered_too(bench: Bench) -> None:
    """A repeat in a dedup window is, and so is a request that is refused."""
    bench.closing.has_begun = bench.ingest.is_quick = True
    bench.connection.data_received(REQUEST * 3)
    assert bench.transport.written.count(b"HTTP/1.1 202 ") == 3
    assert bench.transport.written.rpartition(b"HTTP/1.1 202 ")[2].count(b"Connection: close\r\n") == 1
    assert bench.transport.is_closed


async def test_before_a_stop_a_request_that_is_arriving_is_answered_too(bench: Bench) -> None:
    bench.closing.has_begun = True
    bench.connection.data_received(REQUEST + REQUEST[:30])
    bench.ingest.receptions[0].end()
    assert b"Connection: close" not in bench.transport.written
    bench.connection.data_received(REQUEST[30:])
    bench.ingest.receptions[1].end()
    assert bench.transport.written.count(b"HTTP/1.1 202 ") == 2
    assert b"Connection: close\r\n" in bench.transport.written
    assert bench.transport.is_closed
