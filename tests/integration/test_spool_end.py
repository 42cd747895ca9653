"""A collector that stops with events in its spool sends them first, or leaves them and logs their place."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from eventflow.topology import Lane, ingest_specs, lane_queue
from sandbox.broker.line import Line
from tests.support.amqp import Amqp
from tests.support.cli import Command, ids_in
from tests.support.running_time import running_s
from tests.support.services import API_KEY, Service, collector
from tests.support.spool_files import ids_in_directory
from tests.support.wait import eventually

LONG_S = 120.0
"""A bound that no test reaches."""


@pytest.fixture
async def line(broker_url: str, flow: str, amqp: Amqp) -> AsyncIterator[Line]:
    """The connection to the broker, which the test cuts."""
    await amqp.declare(ingest_specs(flow))
    async with Line(broker_url) as one:
        await one.cut()
        yield one


def spooling(line: Line, flow: str, directory: Path, *, within_s: float, **settings: str) -> Service:
    return collector(
        line.url,
        flow=flow,
        COLLECTOR__SPOOL_DIR=str(directory),
        COLLECTOR__SPOOL_DRAIN_TIMEOUT_S=str(within_s),
        **settings,
    )


async def spool(service: Service, count: int) -> set[str]:
    """Post events, each over a connection of its own, so that every worker gets some; return their ids."""
    ids = {f"event-{number}" for number in range(count)}
    for event_id in ids:
        headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
        async with aiohttp.ClientSession() as fresh, fresh.post(service.url, data=b"{}", headers=headers) as answer:
            assert answer.status == 202
    return ids


async def stopping(service: Service, *, events: int) -> "asyncio.Task[int | None]":
    """Send SIGTERM; return the end of the process once its workers wait with so many events."""
    ending = asyncio.create_task(asyncio.to_thread(service.process.stop, 60))
    await eventually(
        lambda: sum(line["events"] for line in service.logged("spool.drain_started")) == events,
        what=lambda: f"{events} events to send:\n{service.output}",
    )
    return ending


async def test_it_waits_for_the_broker_sends_all_and_ends_as_soon_as_the_spool_is_empty(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(line, flow, tmp_path, within_s=LONG_S)
    with service.process:
        await service.ready(http)
        ids = await spool(service, 50)
        ending = await stopping(service, events=50)
        readiness = await service.readiness(http)
        assert (readiness["status"], readiness["spool"], readiness["spool_events"]) == (503, "spooling", 50)
        assert await service.metric(http, "eventflow_spool_stopping") == 1
        assert await service.metric(http, "eventflow_spool_events") == 50
        assert not ending.done()
        await line.mend()
        assert await ending == 0
    [ended] = service.logged("spool.drain_ended")
    assert (ended["sent"], ended["directory"]) == (50, str(tmp_path))
    assert not service.logged("spool.left")
    arrived = await ids_in(amqp, lane_queue(flow, Lane.LIVE))
    assert sorted(arrived) == sorted(ids)


async def test_after_the_bound_it_logs_the_events_that_are_left_and_the_command_sends_them(
    line: Line, flow: str, amqp: Amqp, broker_url: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(line, flow, tmp_path, within_s=0.5)
    with service.process:
        await service.ready(http)
        ids = await spool(service, 20)
        assert await (await stopping(service, events=20)) == 0
    [left] = service.logged("spool.left")
    assert (left["sent"], left["events"], left["files"]) == (0, 20, ["spool-0.sqlite3"])
    assert left["advice"].endswith(f"eventflow spool send {tmp_path}")
    assert sorted(ids_in_directory(tmp_path)) == sorted(ids)
    sent = await Command(broker_url=broker_url, flow=flow)("spool", "send", str(tmp_path))
    assert sent.status == 0, sent.stderr
    assert sorted(await ids_in(amqp, lane_queue(flow, Lane.LIVE))) == sorted(ids)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_signal_ends_the_wait_and_the_events_stay(
    line: Line, flow: str, http: aiohttp.ClientSession, tmp_path: Path, workers: int
) -> None:
    service = spooling(line, flow, tmp_path, within_s=LONG_S, COLLECTOR__WORKERS=str(workers))
    with service.process:
        await service.ready(http)
        ids = await spool(service, 40)
        ending = await stopping(service, events=40)
        began_s = running_s()
        service.process.signal(signal.SIGTERM)
        assert await ending == 0
        assert running_s() - began_s < LONG_S / 4
    assert sorted(ids_in_directory(tmp_path)) == sorted(ids)


async def test_the_events_of_a_worker_that_is_killed_meanwhile_are_sent_by_another_one(
    line: Line, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(line, flow, tmp_path, within_s=LONG_S, COLLECTOR__WORKERS="2")
    with service.process:
        await service.ready(http)
        ids = await spool(service, 60)
        pids = [started["pid"] for started in await service.logs("worker.started", count=2)]
        ending = await stopping(service, events=60)
        os.kill(pids[0], signal.SIGKILL)
        await line.mend()
        assert await ending == 0
    assert not service.logged("spool.left")
    assert sorted(await ids_in(amqp, lane_queue(flow, Lane.LIVE))) == sorted(ids)


async def test_with_an_empty_spool_it_does_not_wait(
    line: Line, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = spooling(line, flow, tmp_path, within_s=LONG_S)
    with service.process:
        await service.ready(http)
        began_s = running_s()
        assert await asyncio.to_thread(service.process.stop, 60) == 0
        assert running_s() - began_s < LONG_S / 4
    assert not service.logged("spool.left")
