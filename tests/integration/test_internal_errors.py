"""Errors of our own inside attempts, in a real processor with a bug: they cost no event its attempts, and are loud."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from eventflow.topology import Lane, dead_queue, lane_queue, retry_queue
from tests.integration.test_processor import message
from tests.support.amqp import Amqp
from tests.support.services import Service, processor, starting
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

DELAYS_S = (0.1, 0.3)
ERRING = "tests.support.erring_processor"

Start = Callable[..., "asyncio.Future[Service]"]


@pytest.fixture
async def start(
    broker_url: str, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession, amqp: Amqp
) -> AsyncIterator[Start]:
    """Starts a processor of a flow with two attempts for each event."""
    await amqp.declare_flow(flow, DELAYS_S)
    settings_of_all = {"TARGET__RETRY_DELAYS_S": ",".join(map(str, DELAYS_S)), "TARGET__MAX_ATTEMPTS": "2"}
    async with starting(http, has_bugs=True) as start:

        async def start_one(**settings: str) -> Service:
            configured = {"target_url": target.url, **settings_of_all, **settings}
            return await start(processor(broker_url, flow=flow, **configured))

        yield start_one


async def test_an_error_at_every_event_blocks_the_flow_and_burns_nothing(
    start: Start, flow: str, target: ScriptedTarget, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """bodhi#3235. Reproduced on 0.1.0: 240 errors of ours for 20 events, and not a word of a block."""
    switch = tmp_path / "erring"
    switch.touch()
    service = await start(module=ERRING, erring=str(switch))
    ids = {f"{number}-{flow}" for number in range(20)}
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(event_id) for event_id in ids))

    async def is_blocked() -> bool:
        return await service.metric(http, "eventflow_blocked") == 1

    await eventually(is_blocked, within_s=10, what=lambda: f"the flow blocked\n{service.output}")
    state = await service.readiness(http)
    assert (state["status"], state["blocked"]) == (503, {flow: "BugError"})
    # A line comes through a pipe, and later than an answer.
    await eventually(lambda: len(service.logged("flow.blocked")) == 1, what=lambda: f"one line\n{service.output}")
    errors = await service.metric(http, "eventflow_internal_errors_total")
    await asyncio.sleep(4)
    assert await service.metric(http, "eventflow_internal_errors_total") - errors <= 3
    assert not target.receipts

    switch.unlink()
    await eventually(lambda: target.ids == ids, within_s=30, what=lambda: f"all delivered\n{service.output}")
    assert {receipt.attempt for receipt in target.receipts} == {1}
    assert await amqp.depth(dead_queue(flow)) == 0
    await service.ready(http)
    assert len(await service.logs("flow.unblocked")) == len(service.logged("flow.blocked")) == 1


async def test_an_event_that_raises_by_itself_holds_up_no_other_and_is_kept(
    start: Start, flow: str, target: ScriptedTarget, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Reproduced on 0.1.0: it came again every second for ever, and each time took a slot and a part of the quota."""
    service = await start(module=ERRING, erring=str(tmp_path / "none"), TARGET__RETRY_DELAYS_S="0.1,20")
    ids = {f"{number}-{flow}" for number in range(12)}
    poison = [message(f"poison-{number}") for number in range(2)]
    await amqp.publish(lane_queue(flow, Lane.LIVE), *poison, *(message(event_id) for event_id in sorted(ids)))
    await eventually(lambda: target.ids == ids, within_s=30, what=lambda: f"all others delivered\n{service.output}")

    async def errors() -> float:
        return await service.metric(http, "eventflow_internal_errors_total")

    async def have_erred_thrice() -> bool:
        return await errors() == 6

    await eventually(have_erred_thrice, within_s=30, what="requeued once, then by delay queues")
    await asyncio.sleep(2.5)
    assert await errors() == 6, "they wait for 20 s"
    assert await service.metric(http, "eventflow_blocked") == 0
    assert await amqp.depth(retry_queue(flow, 20)) == 2
    assert await amqp.depth(dead_queue(flow)) == 0
