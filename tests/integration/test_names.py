"""Names of brokers: those whose lookup hangs, and those of which an address is silent."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from eventflow.amqp.channel import open_channel
from eventflow.amqp.connection import Connection
from eventflow.amqp.session import RECONNECT_PAUSE_MAX_S, keep_connected
from eventflow.errors import BrokerUnavailableError
from tests.support.certificates import Certificate, frozen_tls
from tests.support.cli import Command
from tests.support.proxy import Proxy, any_link, no_link
from tests.support.running_time import running_s
from tests.support.services import API_KEY, Service, collector, processor
from tests.support.silence import silence
from tests.support.surroundings import with_hosts, with_silent_names
from tests.support.wait import eventually

SILENT = "127.0.0.77"
CONFIRM_TIMEOUT_S = 2.0

UVLOOPS_THREADS = 4

OPEN_OK = b"\x00\x0a\x00\x29"
"""The first bytes of the method that ends a handshake of AMQP."""


def threads_of(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/task").iterdir()))


@pytest.mark.parametrize("kind", ["collector", "processor"])
async def test_services_end_in_order_while_their_brokers_name_is_being_looked_up(flow: str, kind: str) -> None:
    """Stands for nodejs#8436. Reproduced on 0.1.0: a SIGTERM took 16 s, since a thread was in the resolver."""
    url, prefix = "amqp://guest:guest@rabbit.silent/", with_silent_names()
    service = (
        collector(url, flow=flow, prefix=prefix)
        if kind == "collector"
        else processor(url, flow=flow, target_url="http://127.0.0.1:1/", prefix=prefix)
    )
    with service.process:
        await eventually(lambda: f"{kind}.started" in service.output, what=lambda: f"the start\n{service.output}")
        await eventually(lambda: threads_of(service) > 1, what="a lookup")
        assert service.process.stop(10) == 0, service.output


async def test_all_connections_of_a_processor_share_one_lookup_of_the_brokers_name(flow: str) -> None:
    """Reproduced on 0.1.0: each connection had one of its own in uvloop's pool, whose four threads they filled."""
    flows = {f"FLOWS__F{number}__TARGET__URL": "http://127.0.0.1:1/" for number in range(6)}
    service = processor(
        "amqp://guest:guest@rabbit.silent/",
        flow=flow,
        target_url="http://127.0.0.1:1/",
        prefix=with_silent_names(),
        **flows,
    )
    with service.process:
        await eventually(lambda: "processor.started" in service.output, what=lambda: f"the start\n{service.output}")
        await eventually(lambda: threads_of(service) > 1, what="a lookup")
        await asyncio.sleep(0.5)  # all of its 23 connections have asked by now
        assert threads_of(service) <= 1 + UVLOOPS_THREADS + 1, service.output
        assert service.process.stop(10) == 0, service.output


@pytest.fixture
async def silent_address(broker_url: str) -> AsyncIterator[str]:
    """An address of loopback that swallows whatever comes to the broker's port."""
    async with silence(SILENT, urlsplit(broker_url).port or 5672) as address:
        yield address


async def test_a_collector_connects_over_the_next_address_of_a_name_when_the_first_is_silent(
    broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Stands for amqplib#268, uptime-kuma#5006. Reproduced on 0.1.0: it never connected."""
    place = urlsplit(broker_url)
    url = place._replace(netloc=f"{place.username}:{place.password}@rabbit.test:{place.port}").geturl()
    service = collector(
        url, flow=flow, prefix=with_hosts(tmp_path, ("::1", "rabbit.test"), ("127.0.0.1", "rabbit.test"))
    )
    async with silence("::1", place.port or 5672):  # the address that the system prefers
        with service.process:
            await service.ready(http)


@pytest.mark.timed
async def test_one_silent_broker_of_two_costs_less_than_a_confirm_may_take(
    broker_url: str, flow: str, silent_address: str, http: aiohttp.ClientSession
) -> None:
    """Stands for rabbitmq-java-client#1117. Reproduced on 0.1.0: 11.6 s of 503 at each lost session."""
    place = urlsplit(broker_url)
    silent_url = place._replace(netloc=f"guest:guest@{silent_address}:{place.port}").geturl()
    async with Proxy(broker_url) as proxy:
        confirming = {"COLLECTOR__CONFIRM_TIMEOUT_S": str(CONFIRM_TIMEOUT_S)}
        service = collector(f"{silent_url},{proxy.url}", flow=flow, **confirming)
        with service.process:
            await service.ready(http)
            for _ in range(2):
                proxy.cut()
                lost_s = running_s()
                await eventually(lambda: accepts_not(http, service), what="a lost session")
                await eventually(lambda: accepts(http, service), within_s=15, what=lambda: service.output)
                assert running_s() - lost_s < CONFIRM_TIMEOUT_S, service.output


@pytest.mark.timed
async def test_a_broker_that_takes_connections_and_is_silent_holds_up_no_other(broker_url: str) -> None:
    """A frozen node does: its kernel answers for it. Reproduced on 0.1.0: 10 s."""

    async def session(_: Connection) -> None:
        pass

    async with Proxy(broker_url) as frozen:
        frozen.silent = True
        async with asyncio.timeout(CONFIRM_TIMEOUT_S):
            await keep_connected([frozen.url, broker_url], name="test", session=session)


@pytest.mark.timed
async def test_a_broker_that_is_silent_once_tls_stands_holds_up_no_other(broker_url: str, tmp_path: Path) -> None:
    """A balancer that ends TLS does so, before a frozen node. Found in review: it cost 5 s, as did a SIGTERM."""

    async def session(_: Connection) -> None:
        pass

    certificate = Certificate.make(tmp_path, name="localhost")
    with frozen_tls(certificate) as port:
        url = f"amqps://u:p@localhost:{port}/?cacertfile={certificate.certfile}"
        async with asyncio.timeout(CONFIRM_TIMEOUT_S):
            await keep_connected([url, broker_url], name="test", session=session)


@pytest.mark.parametrize("strange", [b"", b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\xce"], ids=["end", "frame"])
async def test_a_collector_outlives_what_takes_connections_and_is_no_broker(flow: str, strange: bytes) -> None:
    """A balancer without a node behind it. Found in review: exit 1 and a traceback, of a `StopAsyncIteration`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if strange:
            await reader.read(8)
            writer.write(strange)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    service = collector(f"amqp://guest:guest@127.0.0.1:{server.sockets[0].getsockname()[1]}/", flow=flow)
    async with server:
        with service.process:
            await eventually(
                lambda: service.output.count("broker.connection_failed") > 3 or not service.process.alive,
                what=lambda: service.output,
            )
            assert service.process.alive, service.output
            assert not service.tracebacks, service.output


async def test_a_connection_that_ends_as_soon_as_it_stands_is_made_anew(broker_url: str) -> None:
    """A balancer that restarts. Found in review: the library raised a bare `Exception`, and the service ended of it."""
    place, ends_left = urlsplit(broker_url), 3
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ends_left
        serving.add(asyncio.current_task())
        below = await asyncio.open_connection(place.hostname, place.port)
        asking = asyncio.create_task(carry(reader, below[1]))
        while data := await below[0].read(65536):
            writer.write(data)
            if OPEN_OK in data and ends_left:
                ends_left -= 1
                break
        asking.cancel()
        for end in (writer, below[1]):
            end.close()
        serving.remove(asyncio.current_task())

    async def session(connection: Connection) -> None:
        await open_channel(connection)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = place._replace(netloc=f"guest:guest@127.0.0.1:{server.sockets[0].getsockname()[1]}").geturl()
    async with server, asyncio.timeout(20):
        await keep_connected([url], name="test", session=session)
    await eventually(lambda: not serving, what="the end of all connections")
    assert ends_left == 0


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_a_broker_that_starts_while_another_is_silent_is_found_at_once(broker_url: str) -> None:
    """The silent one must not hold up the next look at those that refused."""

    async def session(_: Connection) -> None:
        pass

    async with Proxy(broker_url) as frozen, Proxy(broker_url) as starting:
        frozen.silent = True
        starting.refuses = any_link
        connecting = asyncio.create_task(keep_connected([starting.url, frozen.url], name="test", session=session))
        await eventually(lambda: len(starting.history) > 1, what="a second try")
        starting.refuses = no_link
        async with asyncio.timeout(CONFIRM_TIMEOUT_S + RECONNECT_PAUSE_MAX_S):
            await connecting


async def test_a_node_on_which_no_session_lasts_is_tried_last(broker_url: str) -> None:
    """A node without a majority lets everyone in: beginning with the last one that did would never leave it."""
    places = []

    async def session(_: Connection) -> None:
        places.append(min(len(first.history), 1) + 2 * min(len(second.history), 1))
        if len(places) == 1:
            raise BrokerUnavailableError("no majority")

    async with Proxy(broker_url) as first, Proxy(broker_url) as second, asyncio.timeout(20):
        await keep_connected([first.url, second.url], name="test", session=session)
    assert places == [1, 3]


async def test_of_several_silent_brokers_a_command_finds_the_one_that_answers(
    broker_url: str, flow: str, silent_address: str
) -> None:
    """Reproduced on 0.1.0: each silent URL cost a command 10 s."""
    place = urlsplit(broker_url)
    silent_url = place._replace(netloc=f"guest:guest@{silent_address}:{place.port}").geturl()
    command = Command(broker_url=f"{silent_url},{broker_url}", flow=flow)
    began_s = running_s()
    ended = await command("topology")
    assert ended.status == 0, ended.stderr
    assert running_s() - began_s < 8  # most of it is the start of the command


async def accepts(http: aiohttp.ClientSession, service: Service) -> bool:
    async with http.post(service.url, data=b"{}", headers={"X-Api-Key": API_KEY}) as answer:
        return answer.status == 202


async def accepts_not(http: aiohttp.ClientSession, service: Service) -> bool:
    return not await accepts(http, service)
