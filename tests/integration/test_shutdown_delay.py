"""A collector with a shutdown delay: no client that follows its readiness or its answers has a request refused."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support.services import API_KEY, Service, collector
from tests.support.wait import eventually

KEY = {"X-Api-Key": API_KEY}
DELAY_S = 3.0
LONG_S = 300.0
LOOK_EVERY_S = 0.1
SENDERS = 6
KINDS = {
    "own way": {},
    "aiohttp": {"module": "tests.support.aiohttp_alone"},
    "workers": {"COLLECTOR__WORKERS": "2"},
}


@pytest.fixture(params=KINDS)
def start(request: pytest.FixtureRequest, broker_url: str, flow: str) -> Callable[[float], Service]:
    """Prepares a collector with a delay."""

    def prepare(delay_s: float) -> Service:
        return collector(
            broker_url,
            flow=flow,
            COLLECTOR__SHUTDOWN_DELAY_S=f"{delay_s:g}",
            COLLECTOR__DRAIN_TIMEOUT_S="2",
            **KINDS[request.param],
        )

    return prepare


@pytest.fixture(params=["each request", "each connection"])
def chooses_for_each_request(request: pytest.FixtureRequest) -> bool:
    """Whether a client chooses a collector as an HTTP proxy does, or only when it connects, as behind kube-proxy."""
    return request.param == "each request"


@dataclass(slots=True)
class Balancer:
    """Sends requests over kept connections to collectors that are ready, and counts the answers."""

    services: Sequence[Service]
    chooses_for_each_request: bool
    accepted: int = 0
    refused: list[str] = field(default_factory=list)
    closed_by_answer: int = 0
    ready: Sequence[Service] = ()
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @asynccontextmanager
    async def sending(self, http: aiohttp.ClientSession) -> AsyncIterator[None]:
        """Send until the context closes."""
        await self._look(http)
        stop = asyncio.Event()
        looking = asyncio.create_task(self._look_regularly(http))
        sending = [asyncio.create_task(self._send(stop)) for _ in range(SENDERS)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*sending)
            looking.cancel()

    async def _look_regularly(self, http: aiohttp.ClientSession) -> None:
        while True:
            await self._look(http)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, http: aiohttp.ClientSession) -> None:
        self.ready = [service for service in self.services if await service.readyz(http) == 200]

    async def _send(self, stop: asyncio.Event) -> None:
        kept: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        while not stop.is_set():
            url = next(iter(kept), None)
            if url is None or self.chooses_for_each_request:
                url = self.ready[next(self._numbers) % len(self.ready)].url
            if url in kept and kept[url][0].at_eof():  # closed after its collector had left the choice
                kept.pop(url)[1].close()
            try:
                if url not in kept:
                    place = urlsplit(url)
                    kept[url] = await asyncio.open_connection(place.hostname, place.port)
                await self._post(url, kept)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.refused.append(repr(error))
                if url in kept:
                    kept.pop(url)[1].close()
            await asyncio.sleep(0.002)
        for _, writer in kept.values():
            writer.close()

    async def _post(self, url: str, kept: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        reader, writer = kept[url]
        lines = [f"POST {urlsplit(url).path} HTTP/1.1", "Host: x", f"X-Api-Key: {API_KEY}", "Content-Length: 2"]
        writer.write("\r\n".join([*lines, "", "{}"]).encode())
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(line for line in head.splitlines() if line.startswith("content-length: "))
            await reader.readexactly(int(length.removeprefix("content-length: ")))
        if head.startswith("http/1.1 202"):
            self.accepted += 1
        else:
            self.refused.append(head)
        if "connection: close" in head:
            self.closed_by_answer += 1
            kept.pop(url)
            writer.close()


async def test_no_request_is_refused_while_collectors_are_restarted_one_after_the_other(
    start: Callable[[float], Service], http: aiohttp.ClientSession, *, chooses_for_each_request: bool
) -> None:
    services = [start(DELAY_S), start(DELAY_S)]
    balancer = Balancer(services, chooses_for_each_request)
    with services[0].process, services[1].process:
        for service in services:
            await service.ready(http)
        async with balancer.sending(http):
            for service in services:
                began_s, before = time.monotonic(), balancer.accepted
                assert await asyncio.to_thread(service.process.stop, DELAY_S + 20) == 0, service.output
                assert time.monotonic() - began_s >= DELAY_S
                assert balancer.accepted > before
                assert not service.tracebacks
                service.process.start()
                await service.ready(http)
    assert balancer.refused == []
    assert balancer.closed_by_answer > 0 or chooses_for_each_request


async def test_during_the_delay_a_collector_is_not_ready_and_accepts_every_request(
    start: Callable[[float], Service], http: aiohttp.ClientSession
) -> None:
    service = start(LONG_S)
    with service.process:
        await service.ready(http)
        assert (await service.readiness(http))["stopping"] is False
        service.process.signal(signal.SIGTERM)
        await eventually(lambda: is_stopping(service, http), within_s=10, what=lambda: service.output)
        for _ in range(20):
            async with http.post(service.url, data=b"{}", headers=KEY) as answer:
                assert answer.status == 202
                assert answer.headers.get("Connection", "keep-alive") == "keep-alive"
        service.process.signal(signal.SIGINT)  # the second signal ends the delay
        assert await asyncio.to_thread(service.process.end, 20) == 0, service.output


async def is_stopping(service: Service, http: aiohttp.ClientSession) -> bool:
    readiness = await service.readiness(http)
    return readiness["status"] == 503 and readiness["stopping"] is True


async def test_workers_that_get_the_signal_from_the_service_manager_too_keep_to_the_delay(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    """A service manager does so, such as systemd with `KillMode=control-group`."""
    service = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2", COLLECTOR__SHUTDOWN_DELAY_S=f"{LONG_S:g}")
    with service.process:
        await service.ready(http)
        for pid in [service.process.pid, *(line["pid"] for line in await service.logs("worker.started", count=2))]:
            os.kill(pid, signal.SIGTERM)
        await eventually(lambda: is_stopping(service, http), within_s=10, what=lambda: service.output)
        await eventually(lambda: len(service.logged("collector.stopping")) == 2, what=lambda: service.output)
        async with http.post(service.url, data=b"{}", headers=KEY) as answer:
            assert answer.status == 202
        service.process.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.process.end, 20) == 0, service.output


async def test_workers_whose_parent_is_killed_do_not_keep_the_port_for_the_delay(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    service = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2", COLLECTOR__SHUTDOWN_DELAY_S=f"{LONG_S:g}")
    service.process.start()
    try:
        await service.ready(http)
        os.kill(service.process.pid, signal.SIGKILL)
        await asyncio.to_thread(service.process.wait, 30)
        await eventually(lambda: does_not_listen(service), within_s=10, what="a free port")
    finally:
        service.process.kill()


async def does_not_listen(service: Service) -> bool:
    place = urlsplit(service.url)
    try:
        _, writer = await asyncio.open_connection(place.hostname, place.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False
