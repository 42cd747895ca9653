"""The collector's own way to serve a connection, while confirms are late, peers do not read, or go away."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from eventflow.topology import Lane, lane_queue
from eventflow_collector.server.connection import UNANSWERED_MAX
from tests.support.amqp import Amqp
from tests.support.proxy import Proxy
from tests.support.services import API_KEY, Service, collector, starting
from tests.support.sockets import until_read
from tests.support.wait import eventually

LONG = b"e" * 200


def request(flow: str, number: int, *fields: str, body: bytes = b"{}") -> bytes:
    lines = [f"POST /events/{flow} HTTP/1.1", "Host: x", f"X-Api-Key: {API_KEY}", f"ce-id: e{number}", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def connect(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(service.url)
    return await asyncio.open_connection(place.hostname, place.port)


@pytest.fixture
async def proxy(broker_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(broker_url) as between:
        yield between


@pytest.fixture
async def service(proxy: Proxy, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    async with starting(http) as start:
        yield await start(collector(proxy.url, flow=flow))


@pytest.fixture
async def hasty(proxy: Proxy, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    """Waits for a confirm no longer than by default."""
    async with starting(http) as start:
        yield await start(collector(proxy.url, flow=flow, COLLECTOR__CONFIRM_TIMEOUT_S="2"))


async def test_no_request_is_answered_before_its_own_confirm_and_each_gets_its_own_answer(
    service: Service, proxy: Proxy, flow: str
) -> None:
    """A refusal is known at once, and waits behind the answers that are due before it."""
    reader, writer = await connect(service)
    with proxy.stalled(to_broker=True):
        writer.write(request(flow, 1) + request(flow, 2, "ce-specversion: 2") + request(flow, 3))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 1)
    async with asyncio.timeout(30):
        answers = [await reader.readuntil(b"}") for _ in range(3)]
    writer.close()
    assert [answer.split()[1] for answer in answers] == [b"202", b"400", b"202"]
    assert answers[0].endswith(b'{"id": "e1"}')
    assert answers[2].endswith(b'{"id": "e3"}')


async def test_a_refusal_that_closes_the_connection_waits_for_the_answers_before_it_and_ends_the_reading(
    service: Service, proxy: Proxy, flow: str, amqp: Amqp
) -> None:
    reader, writer = await connect(service)
    with proxy.stalled(to_broker=True):
        unknown = request(flow, 2).replace(API_KEY.encode(), b"unknown")
        writer.write(request(flow, 1) + unknown + request(flow, 3))
        await until_read(writer)
        writer.write(request(flow, 4))  # before the close, since bytes after it would be answered by a reset
        await writer.drain()
    async with asyncio.timeout(30):
        answers = await reader.read()
    writer.close()
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"202", b"401"]
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == 1


async def test_a_late_confirm_is_answered_503_and_the_connection_goes_on(
    hasty: Service, proxy: Proxy, flow: str, amqp: Amqp
) -> None:
    reader, writer = await connect(hasty)
    with proxy.stalled(to_broker=True):
        writer.write(request(flow, 1) + request(flow, 2))
        async with asyncio.timeout(30):
            answers = await reader.readuntil(b"}") + await reader.readuntil(b"}")
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"503", b"503"]
    assert b"Retry-After: " in answers

    async def is_confirmed() -> bool:
        return await amqp.depth(lane_queue(flow, Lane.LIVE)) == 2  # late, and not lost

    await eventually(is_confirmed, what="both events in the queue")
    writer.write(request(flow, 3))
    async with asyncio.timeout(30):
        assert b'{"id": "e3"}' in await reader.readuntil(b"}")
    writer.close()


async def test_an_event_of_a_sender_that_went_away_is_published_and_nothing_is_held(
    service: Service, proxy: Proxy, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    with proxy.stalled(to_broker=True):
        for number in range(5):
            _, writer = await connect(service)
            writer.write(request(flow, number))
            await until_read(writer)
            writer.transport.abort()

    async def all_stored() -> bool:
        return await amqp.depth(lane_queue(flow, Lane.LIVE)) == 5

    await eventually(all_stored, what="five events in the queue")
    await service.counts(http, "eventflow_ingest_in_flight", 0)
    await service.counts(http, "eventflow_ingest_connections", 0)


async def test_a_connection_has_a_bounded_number_of_requests_without_answers(
    service: Service, proxy: Proxy, flow: str, http: aiohttp.ClientSession
) -> None:
    count = UNANSWERED_MAX * 3
    reader, writer = await connect(service)
    with proxy.stalled(to_broker=True):
        writer.write(b"".join(request(flow, number) for number in range(count)))
        await service.counts(http, "eventflow_ingest_in_flight", UNANSWERED_MAX)
    writer.write_eof()
    async with asyncio.timeout(30):
        answers = await reader.read()
    writer.close()
    assert answers.count(b"HTTP/1.1 ") == count


async def test_a_peer_that_reads_no_answers_is_not_read_and_gets_all_of_them_later(
    service: Service, flow: str, amqp: Amqp
) -> None:
    place = urlsplit(service.url)
    peer = socket.socket()
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        peer.setsockopt(socket.SOL_SOCKET, buffer, 16_384)  # small, so that it is soon full
    peer.connect((place.hostname, place.port))
    reader, writer = await asyncio.open_connection(sock=peer)
    writer.transport.pause_reading()
    sent = 0
    is_still = False

    async def send() -> None:
        nonlocal sent
        while sent < 30_000 and not is_still:
            # Long ids, so that their answers fill the buffers of the kernel.
            writer.write(request(flow, sent, body=b"x" * 1000).replace(b"ce-id: e", b"ce-id: " + LONG))
            sent += 1
            await writer.drain()

    async def stands_still() -> bool:
        before = sent
        for _ in range(10):  # not one long sleep, whose end would say nothing of a machine that stood still meanwhile
            await asyncio.sleep(0.1)
        return sent == before > 0

    sending = asyncio.create_task(send())
    await eventually(stands_still, what="the end of the reading")
    is_still = True
    assert not sending.done()
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) < sent
    writer.transport.resume_reading()
    async with asyncio.timeout(60):
        for number in range(sent):
            answer = await reader.readuntil(b"}")
            assert LONG + b'%d"}' % number in answer
        await sending
    writer.close()
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == sent


@pytest.mark.timed
async def test_an_idle_connection_is_closed_after_the_keep_alive_time(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    service = collector(broker_url, flow=flow, COLLECTOR__KEEP_ALIVE_S="2")
    with service.process:
        await service.ready(http)
        reader, writer = await connect(service)
        started_s = asyncio.get_running_loop().time()  # before the answer, at which the collector's time begins
        writer.write(request(flow, 1))
        await reader.readuntil(b"}")
        async with asyncio.timeout(6):
            assert await reader.read() == b""
        assert 1.5 < asyncio.get_running_loop().time() - started_s < 4.5
        writer.close()


async def test_a_slow_body_is_received_by_the_other_way_and_answered(service: Service, flow: str) -> None:
    reader, writer = await connect(service)
    data = request(flow, 1, body=b"x" * 40)
    writer.write(request(flow, 0) + data[:-40])
    for _ in range(4):
        await asyncio.sleep(0.3)
        writer.write(b"x" * 10)
    async with asyncio.timeout(30):
        answers = await reader.readuntil(b"}") + await reader.readuntil(b"}")
    writer.close()
    assert re.findall(rb'\{"id": "(\w+)"\}', answers) == [b"e0", b"e1"]


async def test_a_stop_answers_the_requests_in_flight_and_closes_idle_connections(
    service: Service, proxy: Proxy, flow: str, amqp: Amqp
) -> None:
    idle, idle_writer = await connect(service)
    reader, writer = await connect(service)
    with proxy.stalled(to_broker=True):
        writer.write(request(flow, 1))
        await until_read(writer)
        stopping = asyncio.create_task(asyncio.to_thread(service.process.stop))
        async with asyncio.timeout(30):
            assert await idle.read() == b""
        assert not stopping.done()
    async with asyncio.timeout(30):
        assert b'{"id": "e1"}' in await reader.read()
    assert await stopping == 0
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == 1
    for one in (writer, idle_writer):
        one.close()


async def test_a_stop_loses_no_answer_to_a_peer_that_sends_on(service: Service, proxy: Proxy, flow: str) -> None:
    """Bytes that were never read would make the kernel reset the connection."""
    idle, idle_writer = await connect(service)
    reader, writer = await connect(service)
    with proxy.stalled(to_broker=True):
        writer.write(request(flow, 1))
        await until_read(writer)
        stopping = asyncio.create_task(asyncio.to_thread(service.process.stop))
        async with asyncio.timeout(30):
            assert await idle.read() == b""  # the stop has begun
        writer.write(request(flow, 2))
        await writer.drain()
    async with asyncio.timeout(30):
        answers = await reader.read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"202"]
    assert await stopping == 0
    for one in (writer, idle_writer):
        one.close()


def send_and_reset(service: Service, data: bytes) -> None:
    place = urlsplit(service.url)
    with socket.create_connection((place.hostname, place.port)) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.sendall(data)


async def test_a_peer_that_resets_its_connection_is_no_internal_error(
    service: Service, flow: str, http: aiohttp.ClientSession
) -> None:
    """An answer or `100 Continue` is written to a connection that is being lost. The fixture looks for tracebacks."""
    data = request(flow, 1, "Expect: 100-continue")
    for count in range(400):
        await asyncio.to_thread(send_and_reset, service, request(flow, 0) * (count % 3) + data)
    await service.counts(http, "eventflow_ingest_connections", 0)
    await service.counts(http, "eventflow_ingest_in_flight", 0)
