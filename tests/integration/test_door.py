"""The collector's door: connections that cost descriptors, senders that shut one side, and what is held meanwhile."""

import asyncio
import re
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from eventflow.topology import Lane, lane_queue
from sandbox.broker.line import Line
from tests.support.amqp import Amqp
from tests.support.proxy import Proxy
from tests.support.services import API_KEY, Service, collector
from tests.support.sockets import until_read
from tests.support.wait import eventually

KEY = {"X-Api-Key": API_KEY}
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def head(flow: str, *fields: str) -> bytes:
    return "\r\n".join([f"POST /events/{flow} HTTP/1.1", "Host: x", f"X-Api-Key: {API_KEY}", *fields, "\r\n"]).encode()


def request(flow: str, body: bytes = b"{}", *fields: str) -> bytes:
    return head(flow, f"Content-Length: {len(body)}", *fields) + body


async def connect(url: str) -> Connection:
    place = urlsplit(url)
    return await asyncio.open_connection(place.hostname, place.port)


@asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Connection]]:
    """Hold so many connections open that send nothing."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            reader, writer = await connect(url)
            stack.callback(writer.close)
            opened.append((reader, writer))
        yield opened


async def post(service: Service, http: aiohttp.ClientSession) -> int:
    async with http.post(service.url, data=b"{}", headers={**KEY, "Connection": "close"}) as answer:
        return answer.status


async def operator_is_answered(service: Service, http: aiohttp.ClientSession) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        async with http.get(service.admin_url + path, headers={"Connection": "close"}) as answer:
            assert answer.status == 200, path


def descriptors_of(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_strangers_that_hold_every_descriptor_do_not_keep_senders_out(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path, workers: str
) -> None:
    """Reproduced on 0.1.0: 80 idle connections at `ulimit -n 64` ended a collector with a spool within 6 s."""
    service = collector(
        broker_url,
        flow=flow,
        descriptors="-n 64",
        COLLECTOR__SPOOL_DIR=str(tmp_path / "spool"),
        COLLECTOR__WORKERS=workers,
    )
    with service.process:
        await service.ready(http)
        async with connections(service.url, 200) as idle:
            until_s = asyncio.get_running_loop().time() + 5  # the spool looks for abandoned files every 2 s
            while asyncio.get_running_loop().time() < until_s:
                assert await post(service, http) == 202
                await operator_is_answered(service, http)
                await asyncio.sleep(0.2)
            assert sum(reader.at_eof() for reader, _ in idle) >= 100
        assert service.process.alive
    assert service.process.returncode == 0
    assert "connections.exhausted" in service.output
    assert not service.tracebacks
    assert "worker.died" not in service.output


async def test_the_longest_idle_connection_makes_room_and_none_that_is_served(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    service = collector(broker_url, flow=flow, COLLECTOR__MAX_CONNECTIONS="3")
    with service.process:
        await service.ready(http)
        async with connections(service.url, 3) as [uploading, oldest, used]:
            uploading[1].write(head(flow, "Content-Length: 2") + b"{")
            await until_read(uploading[1])
            used[1].write(request(flow))
            await used[0].readuntil(b"}")
            assert await post(service, http) == 202
            assert await oldest[0].read() == b""
            assert not used[0].at_eof()
            uploading[1].write(b"}")
            assert b" 202 " in await uploading[0].readline()


async def test_a_connection_is_refused_while_all_others_are_served(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    service = collector(broker_url, flow=flow, COLLECTOR__MAX_CONNECTIONS="2")
    with service.process:
        await service.ready(http)
        async with connections(service.url, 2) as uploading:
            for _, writer in uploading:
                writer.write(head(flow, "Content-Length: 2") + b"{")

            async def both_are_served() -> bool:
                return await service.metric(http, "eventflow_ingest_in_flight") == 2

            await eventually(both_are_served, what="two requests in flight")
            reader, writer = await connect(service.url)
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: " in answer
            assert b"application/problem+json" in answer
            for reader, writer in uploading:
                writer.write(b"}")
                assert b" 202 " in await reader.readline()
        assert await post(service, http) == 202

        async def told() -> bool:
            return await service.metric(http, "eventflow_ingest_connections_refused_total") == 1

        await eventually(told, what="the refusal in the metrics")


async def test_refused_senders_that_owe_the_rest_of_their_bodies_make_room_soon(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    """Found by reading: without a key, each such connection was kept from newcomers for 10 s."""
    service = collector(broker_url, flow=flow, COLLECTOR__MAX_CONNECTIONS="2")
    with service.process:
        await service.ready(http)
        async with connections(service.url, 2) as refused:
            for reader, writer in refused:
                writer.write(head(flow, "Content-Length: 9999").replace(API_KEY.encode(), b"wrong") + b"{")
                assert b" 401 " in await reader.readline()

            async def is_taken() -> bool:
                return await post(service, http) == 202

            await eventually(is_taken, within_s=4, what="room for another sender")


async def test_a_peer_that_reads_no_answers_makes_room(broker_url: str, flow: str, http: aiohttp.ClientSession) -> None:
    """A sibling of the idle ones: its answers wait for it for ever, without a key."""
    service = collector(broker_url, flow=flow, COLLECTOR__MAX_CONNECTIONS="2")
    with service.process:
        await service.ready(http)
        async with connections(service.url, 2) as deaf:
            for _, writer in deaf:
                writer.transport.pause_reading()
                writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 4000)

            async def served() -> bool:
                try:
                    return await post(service, http) == 202
                except aiohttp.ClientError:  # the refusal, when the kernel throws it away
                    return False

            await eventually(served, within_s=15, what="room for another")


async def test_idle_connections_to_the_admin_port_take_nothing_from_the_service(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    service = collector(broker_url, flow=flow, descriptors="-n 64")
    with service.process:
        await service.ready(http)
        async with connections(service.admin_url, 100):
            await operator_is_answered(service, http)
            assert await post(service, http) == 202


async def test_the_limit_of_open_files_is_raised(broker_url: str, flow: str, http: aiohttp.ClientSession) -> None:
    service = collector(broker_url, flow=flow, descriptors="-Sn 64")
    with service.process:
        await service.ready(http)
        soft, hard = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard > 64
    assert "descriptors.limit_raised" in service.output


async def test_a_collector_outlives_a_time_without_any_descriptor(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """An error of the spool's directory means that there is no room now. 0.1.0 ended with `OSError` in a glob."""
    async with Line(broker_url) as line:
        service = collector(line.url, flow=flow, COLLECTOR__SPOOL_DIR=str(tmp_path / "spool"))
        with service.process:
            await service.ready(http)
            reader, writer = await connect(service.url)
            writer.write(request(flow))
            await reader.readuntil(b"}")
            limits = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (1, limits[1]))
            await line.cut()
            until_s = asyncio.get_running_loop().time() + 4
            while asyncio.get_running_loop().time() < until_s:
                writer.write(request(flow))
                assert re.search(rb" (202|503) ", await reader.readuntil(b"}"))
                await asyncio.sleep(0.2)
            resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, limits)
            await line.mend()
            writer.close()

            async def takes() -> bool:
                return await post(service, http) == 202

            await eventually(takes, what=lambda: f"an event taken:\n{service.output}")
        assert service.process.returncode == 0
        assert not service.tracebacks


def half_closed(flow: str) -> dict[str, tuple[bytes, list[int]]]:
    """Return what is sent before the writing side is shut, and the statuses that answer it."""
    one = request(flow)
    return {
        "one request": (one, [202]),
        "pipelined": (one * 3, [202] * 3),
        "more than are parsed ahead": (one * 100, [202] * 100),
        "a large body": (request(flow, b"x" * 900_000), [202]),
        "chunked": (head(flow, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n", [202]),
        "with Connection: close": (request(flow, b"{}", "Connection: close"), [202]),
        "the last one refused": (one + request("nobody"), [202, 404]),
        "malformed": (b"nonsense\r\n\r\n", [400]),
        "the last one without an end": (one + head(flow)[:-4], [202]),
        "part of a body": (head(flow, "Content-Length: 5") + b"{}", []),
        "part of a second body": (one + head(flow, "Content-Length: 5") + b"{}", [202]),
        "part of a chunk": (head(flow, "Transfer-Encoding: chunked") + b"5\r\n{}", []),
        "part of a head": (head(flow)[:-4], []),
        "nothing": (b"", []),
        "the description": (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    }


async def test_a_sender_may_shut_its_writing_side_behind_its_requests(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: a request, then `shutdown(SHUT_WR)`, was published and got no answer."""
    service = collector(broker_url, flow=flow)
    answered: dict[str, list[int]] = {}
    with service.process:
        await service.ready(http)
        before = descriptors_of(service)
        for name, (data, _) in half_closed(flow).items():
            reader, writer = await connect(service.url)
            writer.write(data)
            writer.write_eof()
            async with asyncio.timeout(30):  # it closes by itself, behind the last answer
                answers = await reader.read()
            answered[name] = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]
            writer.close()
        expected = {name: statuses for name, (_, statuses) in half_closed(flow).items()}
        assert answered == expected
        await eventually(lambda: descriptors_of(service) <= before, what="the descriptors back")
        taken = sum(statuses.count(202) for statuses in expected.values())

        async def all_queued() -> bool:
            return await amqp.depth(lane_queue(flow, Lane.LIVE)) == taken

        await eventually(all_queued, what=f"{taken} events in the queue")
    assert service.process.returncode == 0
    assert not service.tracebacks


async def test_an_end_that_comes_later_than_the_request_is_waited_for_by_the_answer(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    service = collector(broker_url, flow=flow)
    with service.process:
        await service.ready(http)
        for sent_first in range(0, 200, 7):
            data = request(flow)
            reader, writer = await connect(service.url)
            writer.write(data[:sent_first])
            await asyncio.sleep(0.001)
            writer.write(data[sent_first:])
            await asyncio.sleep(0)
            writer.write_eof()
            async with asyncio.timeout(30):
                assert (await reader.read()).startswith(b"HTTP/1.1 202 ")
            writer.close()


TINY_EVENTS = {
    "application/x-ndjson": b"1\n" * 1000,
    "application/json": b"[" + b",".join([b"1"] * 1000) + b"]",
    "application/cloudevents-batch+json": b"["
    + b",".join(b'{"specversion":"1.0","id":"%d","source":"s","type":"t"}' % number for number in range(1000))
    + b"]",
}


@pytest.mark.parametrize("content_type", TINY_EVENTS)
async def test_the_budget_bounds_the_memory_that_events_take_and_not_their_bodies_alone(
    broker_url: str, flow: str, http: aiohttp.ClientSession, content_type: str
) -> None:
    """Reproduced on 0.1.0: NDJSON of one-byte events grew it from 61 to 193 MiB at a budget of 64 KiB."""
    headers = {**KEY, "Content-Type": content_type}

    async def send(service: Service) -> int:
        body = TINY_EVENTS[content_type]
        async with http.post(service.url, params={"batch": "1"}, data=body, headers=headers) as answer:
            return answer.status

    async with Proxy(broker_url) as proxy:
        settings = {"COLLECTOR__MAX_IN_FLIGHT_BYTES": "65536", "COLLECTOR__CONFIRM_TIMEOUT_S": "2"}
        service = collector(proxy.url, flow=flow, **settings)
        with service.process:
            await service.ready(http)
            assert [await send(service) for _ in range(3)] == [202] * 3  # alone, each may pass the bound
            before_mib = rss_mib(service)
            with proxy.stalled(to_broker=True):
                answers = await asyncio.gather(*(send(service) for _ in range(64)))
                assert set(answers) == {503}
                grown_mib = rss_mib(service) - before_mib
            assert grown_mib < 16, f"grown by {grown_mib:.0f} MiB"

            async def all_given_back() -> bool:
                return await send(service) == 202

            await eventually(all_given_back, what="a batch taken again")


def rss_mib(service: Service) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


ODD_FIELDS = [
    *(f"{name}:" for name in ("Content-Type", "Idempotency-Key", "webhook-id", "X-GitHub-Event", "X-Shopify-Topic")),
    *(f"{name}:" for name in ("traceparent", "ce-id", "ce-specversion", "ce-time", "Content-Encoding", "Expect")),
    "Content-Type: text/" + "x" * 300,
    "Content-Type: text/plain; name=\xff",
    "X-GitHub-Event: " + "x" * 300,
    "ce-time: yesterday",
    "ce-source: %ff",
    "Content-Encoding: identity, identity",
]


async def test_optional_headers_refuse_no_event(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: an empty `Content-Type:` or `Idempotency-Key:`, or a type of 300 bytes, was answered 400."""
    service = collector(broker_url, flow=flow)
    answered = {}
    with service.process:
        await service.ready(http)
        for field in ODD_FIELDS:
            reader, writer = await connect(service.url)
            writer.write(request(flow, b"{}").replace(b"Host: x", b"Host: x\r\n" + field.encode("latin-1")))
            answered[field] = (await reader.readline()).split()[1]
            writer.close()
        async with http.post(f"{service.url}?batch=", data=b"{}", headers=KEY) as answer:
            answered["?batch="] = str(answer.status).encode()
    assert set(answered.values()) == {b"202"}, answered
    messages = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert len({message.headers["cloudEvents:id"] for message in messages}) == len(ODD_FIELDS) + 1
