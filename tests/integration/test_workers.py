"""Workers end with their parent, need no disk, and a port that is taken is worth another start."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from sandbox.broker.line import Line
from tests.support.means import cannot
from tests.support.services import API_KEY, Service, collector, processor
from tests.support.surroundings import prepared_by
from tests.support.wait import eventually

KEY = {"X-Api-Key": API_KEY}


@pytest.fixture
async def line(broker_url: str) -> AsyncIterator[Line]:
    async with Line(broker_url) as one:
        yield one


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def without_broker(service: Service) -> set[int]:
    """Return the process ids of the workers that have failed twice to connect: `{program}@{host}:{pid}:{random}`."""
    failed = [line for line in service.logged("broker.connection_failed") if line["attempt"] >= 2]
    return {int(line["connection"].split(":")[1]) for line in failed}


async def test_workers_end_with_a_parent_that_left_their_reports_unread_and_the_next_start_works(
    line: Line, flow: str, http: aiohttp.ClientSession
) -> None:
    """LightRAG#3494. Reproduced on 0.1.0: three workers answered 202 with nothing to watch or restart them.

    Unread reports make the end of the link a reset instead of an end-of-file.
    """
    service = collector(line.url, flow=flow, COLLECTOR__WORKERS="2", COLLECTOR__DRAIN_TIMEOUT_S="2")
    service.process.start()
    await service.ready(http)
    workers = [line["pid"] for line in service.logged("worker.started")]
    try:
        os.kill(service.process.pid, signal.SIGSTOP)
        await line.cut()
        await eventually(
            lambda: without_broker(service) == set(workers),
            what=lambda: f"both workers without a broker, which they have reported:\n{service.output}",
        )
        os.kill(service.process.pid, signal.SIGKILL)
        await eventually(lambda: not any(map(is_running, workers)), within_s=10, what="the workers' end")
        await line.mend()
        await asyncio.to_thread(service.process.wait, 5)
        with service.process:
            await service.ready(http)
            async with http.post(service.url, data=b"{}", headers=KEY) as answer:
                assert answer.status == 202
    finally:
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        service.process.kill()


async def test_workers_whose_parent_dies_while_they_start_end_too(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    service = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2")
    service.process.start()
    await eventually(lambda: len(service.logged("worker.started")) == 2, what="two workers")
    workers = [line["pid"] for line in service.logged("worker.started")]
    os.kill(service.process.pid, signal.SIGKILL)
    await eventually(lambda: not any(map(is_running, workers)), within_s=10, what="the workers' end")
    service.process.kill()


async def test_a_worker_that_dies_just_before_a_stop_is_not_started_again(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    """Otherwise the log would have an error every half second, for as long as the others need to stop."""
    service = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2", COLLECTOR__SHUTDOWN_DELAY_S="2")
    with service.process:
        await service.ready(http)
        os.kill(service.logged("worker.started")[0]["pid"], signal.SIGKILL)
        await eventually(lambda: bool(service.logged("worker.died")), what="the end of a worker")
        assert await asyncio.to_thread(service.process.stop) == 0
    assert not service.logged("worker.not_started"), service.output


@pytest.mark.parametrize("taken", ["collector", "collector's admin", "workers' admin", "processor's admin"])
async def test_a_port_that_is_set_and_taken_is_one_line_and_an_exit_status(
    broker_url: str, flow: str, taken: str
) -> None:
    """LightRAG#3494: at status 78 a supervisor gives up.

    It must not for the port for events, which an ending process may still have. At the admin port that is set, another
    process would answer in place of this one, and a supervisor would start this one for ever.
    """
    workers = "2" if taken.startswith("workers") else "1"
    service = (
        processor(broker_url, flow=flow, target_url="http://127.0.0.1:9/", TELEMETRY__LOG_LEVEL="error")
        if taken.startswith("processor")
        else collector(broker_url, flow=flow, TELEMETRY__LOG_LEVEL="error", COLLECTOR__WORKERS=workers)
    )
    address = urlsplit(service.url if taken == "collector" else service.admin_url)
    with socket.create_server((address.hostname, address.port)):
        service.process.start()
        status = await asyncio.to_thread(service.process.wait, 20)
    assert status == (1 if taken == "collector" else 78), service.output
    [line] = service.output.splitlines()
    assert f"cannot listen on {address.hostname}:{address.port}" in line
    assert "ddress already in use" in line


NO_PLACE = "mount -o remount,bind,ro / && mount -t tmpfs -o ro tmpfs /dev/shm"
SMALL_PLACE = "mount -t tmpfs -o size=16k tmpfs /tmp && mount -t tmpfs -o size=16k tmpfs /dev/shm"


@pytest.mark.parametrize("place", [NO_PLACE, SMALL_PLACE], ids=["read-only", "16 KiB"])
async def test_workers_need_no_temporary_directory(
    broker_url: str, flow: str, http: aiohttp.ClientSession, place: str
) -> None:
    """k8s-sidecar#427. Reproduced on 0.1.0: without a writable directory 163 lines of traceback; with one of 16 KiB and
    four workers SIGBUS, since metrics were kept in files that are mapped into memory.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        cannot("no root or no unshare(1), for file systems of its own")
    if place == SMALL_PLACE and Path(sys.executable).is_relative_to("/tmp"):
        pytest.skip("this checkout is in /tmp, which the test replaces")
    service = collector(
        broker_url,
        flow=flow,
        prefix=prepared_by(place),
        variables={"PROMETHEUS_MULTIPROC_DIR": "/not/there"},
        COLLECTOR__WORKERS="4",
    )
    with service.process:
        await service.ready(http)
        for _ in range(20):  # a connection each, so that several workers get some
            async with aiohttp.ClientSession() as fresh, fresh.post(service.url, data=b"{}", headers=KEY) as answer:
                assert answer.status == 202
        assert await service.metric(http, "eventflow_events_accepted_total") == 20
    assert service.process.returncode == 0, service.output
    assert "worker.died" not in service.output
    assert "Traceback" not in service.output


async def test_a_worker_that_replaces_a_killed_one_refuses_no_event(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    """A new worker accepted connections before it had a session with the broker, and answered them 503."""
    service = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2")
    statuses: list[int] = []

    async def send() -> None:
        with suppress(aiohttp.ClientError):  # the connection was at the killed worker
            async with http.post(service.url, data=b"{}", headers={**KEY, "Connection": "close"}) as answer:
                statuses.append(answer.status)

    with service.process:
        await service.ready(http)
        for killed in range(3):
            os.kill(service.logged("worker.started")[-1]["pid"], signal.SIGKILL)
            while len(service.logged("worker.started")) < 3 + killed or not await service.is_ready(http):
                await asyncio.gather(*(send() for _ in range(8)))
        assert set(statuses) == {202}, service.output


async def test_what_a_killed_worker_counted_stays_in_the_sum(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    service = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2")
    with service.process:
        await service.ready(http)
        for _ in range(10):
            async with http.post(service.url, data=b"{}", headers=KEY) as answer:
                assert answer.status == 202
        assert await service.metric(http, "eventflow_events_accepted_total") == 10
        for line in service.logged("worker.started"):
            os.kill(line["pid"], signal.SIGKILL)
        await eventually(lambda: len(service.logged("worker.started")) == 4, what="two more workers")
        assert await service.metric(http, "eventflow_events_accepted_total") == 10
