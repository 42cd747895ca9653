"""SIGTERM while the broker is silent: both services end in order, with exit status 0, soon, and without a traceback.

Reproduced on 0.1.0: three of four runs ended with exit status 1, a `CancelledError` of aiormq's own, and its traceback.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from eventflow.topology import Lane, lane_queue
from sandbox.broker.line import Line
from sandbox.broker.node import PrivateNode
from sandbox.ports import LOOPBACK
from tests.support.amqp import Amqp
from tests.support.load import Load
from tests.support.running_time import running_s
from tests.support.services import Service, collector, processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

DRAIN_TIMEOUT_S = 2
ENDS_WITHIN_S = DRAIN_TIMEOUT_S + 8.0
"""Beside the drain: the wait for the spool, a confirm timeout, an unanswered cancel, a connection that does not close,
and a busy machine."""


@pytest.fixture
def frozen(node: PrivateNode) -> Iterator[Callable[[], None]]:
    """Freezes the broker, until the test ends."""
    yield node.pause
    node.resume()


def collecting(url: str, flow: str, **settings: str) -> Service:
    settings |= {
        "COLLECTOR__CONFIRM_TIMEOUT_S": "2",
        "COLLECTOR__DRAIN_TIMEOUT_S": str(DRAIN_TIMEOUT_S),
        "COLLECTOR__SPOOL_DRAIN_TIMEOUT_S": "1",
    }
    return collector(url, flow=flow, **settings)


def processing(url: str, flow: str, target: ScriptedTarget) -> Service:
    return processor(url, flow=flow, target_url=target.url, PROCESSOR__DRAIN_TIMEOUT_S=str(DRAIN_TIMEOUT_S))


async def stops_in_order(service: Service) -> None:
    began_s = running_s()
    status = await asyncio.to_thread(service.process.stop, 40)
    assert status == 0, service.output
    assert running_s() - began_s < ENDS_WITHIN_S, service.output
    assert "Traceback" not in service.output, service.output


@pytest.mark.parametrize("extra", ["nothing", "spool", "workers"])
async def test_a_collector_under_load_ends_in_order_while_the_broker_is_frozen(
    node: PrivateNode, frozen: Callable[[], None], flow: str, http: aiohttp.ClientSession, tmp_path: Path, extra: str
) -> None:
    settings = {
        "nothing": {},
        "spool": {"COLLECTOR__SPOOL_DIR": str(tmp_path / "spool")},
        "workers": {"COLLECTOR__WORKERS": "2"},
    }
    service = collecting(node.url, flow, **settings[extra])
    load = Load(url=service.url, rate_per_s=100, timeout_s=10)
    with service.process:
        await service.ready(http)
        load.start()
        try:
            await eventually(lambda: len(load.accepted) > 20, what="accepted events")
            frozen()

            async def are_waiting() -> bool:
                return await service.metric(http, "eventflow_ingest_in_flight") > 0

            await eventually(are_waiting, what="requests that wait for their confirms")
            await stops_in_order(service)
        finally:
            await load.stop()


@pytest.mark.parametrize("answer", [200, 500])
async def test_a_processor_ends_in_order_while_the_broker_is_frozen(
    node: PrivateNode,
    frozen: Callable[[], None],
    flow: str,
    http: aiohttp.ClientSession,
    target: ScriptedTarget,
    answer: int,
) -> None:
    target.answer = lambda _: answer  # of 500 come copies, whose confirms do not come
    service = processing(node.url, flow, target)
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        with service.process:
            await service.ready(http)
            await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(100))
            await eventually(lambda: len(target.receipts) > 5, what="attempts")
            frozen()
            await stops_in_order(service)
        node.resume()


@pytest.mark.parametrize("kind", ["collector", "processor"])
async def test_services_end_in_order_while_they_connect_to_a_broker_that_never_answers(
    broker_url: str, flow: str, target: ScriptedTarget, kind: str
) -> None:
    async with Line(broker_url) as line:
        line.block()
        service = collecting(line.url, flow) if kind == "collector" else processing(line.url, flow, target)
        with service.process:
            await eventually(lambda: line.connections > 0, what="a connection that waits for its handshake")
            await stops_in_order(service)


@pytest.mark.parametrize("kind", ["collector", "processor"])
async def test_services_end_in_order_while_the_broker_is_down(flow: str, target: ScriptedTarget, kind: str) -> None:
    url = f"amqp://guest:guest@{LOOPBACK}:1/"
    service = collecting(url, flow) if kind == "collector" else processing(url, flow, target)
    with service.process:
        await eventually(lambda: "broker.connection_failed" in service.output, what="a failed connection")
        await stops_in_order(service)
