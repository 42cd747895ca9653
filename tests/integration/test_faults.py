"""Everything is killed, cut and blocked under load, and every event that was answered 202 reaches the target."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from eventflow.topology import Lane, dead_queue, lane_queue
from sandbox.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.load import Load
from tests.support.services import API_KEY, Service, collector, processor
from tests.support.target import Receipt, ScriptedTarget
from tests.support.wait import eventually

RATE_PER_S = 200


@dataclass(slots=True, kw_only=True)
class World:
    """The whole way of an event, on a node that a test may do anything to."""

    node: PrivateNode
    flow: str
    collector: Service
    processor: Service
    target: ScriptedTarget
    load: Load
    http: aiohttp.ClientSession

    async def nothing_is_lost(self, *, at_least: int) -> None:
        """Stop the load and wait until each accepted event has reached the target."""
        await self.load.stop()
        assert len(self.load.accepted) >= at_least, self.load
        await eventually(
            lambda: self.load.accepted <= self.target.ids,
            within_s=40,
            what=lambda: f"{len(self.load.accepted - self.target.ids)} events:\n{self.processor.output}",
        )

    @property
    def duplicates(self) -> int:
        return len(self.target.receipts) - len(self.target.ids)

    async def progress(self, events: int = 100) -> None:
        """Wait until so many more events have been accepted."""
        before = len(self.load.accepted)
        await eventually(lambda: len(self.load.accepted) >= before + events, what=lambda: f"progress: {self.load}")


@pytest.fixture
async def world(node: PrivateNode, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[World]:
    async with ScriptedTarget() as target:
        taking = collector(node.url, flow=flow)
        giving = processor(node.url, flow=flow, target_url=target.url)
        with taking.process, giving.process:
            await taking.ready(http)
            await giving.ready(http)
            load = Load(taking.url, RATE_PER_S)
            load.start()
            yield World(node=node, flow=flow, collector=taking, processor=giving, target=target, load=load, http=http)
            await load.stop()
        for service in (taking, giving):
            assert service.process.returncode == 0, service.output
            assert "Traceback" not in service.output, service.output


async def test_broker_killed_under_load(world: World) -> None:
    for _ in range(2):
        await world.progress(200)
        await asyncio.to_thread(world.node.kill)
        await asyncio.to_thread(world.node.start)
    await world.progress(200)
    await world.nothing_is_lost(at_least=600)
    assert set(world.load.refused) <= {503}
    assert world.load.slowest_s < 5


async def test_broker_restarted_under_load(world: World) -> None:
    await world.progress(200)
    await asyncio.to_thread(world.node.restart)
    await world.progress(200)
    await world.nothing_is_lost(at_least=400)


async def test_collector_killed_under_load(world: World) -> None:
    for _ in range(3):
        await world.progress(150)
        world.collector.process.kill()
        world.collector.process.start()
        await world.collector.ready(world.http)
    await world.progress(150)
    await world.nothing_is_lost(at_least=600)


async def test_processor_killed_under_load_duplicates_at_most_what_it_held(world: World) -> None:
    for _ in range(3):
        await world.progress(150)
        world.processor.process.kill()
        world.processor.process.start()
        await world.processor.ready(world.http)
    await world.progress(150)
    await world.nothing_is_lost(at_least=600)
    assert world.duplicates <= 3 * 64


async def test_frozen_broker_gets_answers_within_the_confirm_timeout_and_recovers(world: World) -> None:
    await world.progress(100)
    world.node.pause()
    answers = await asyncio.gather(*(_post(world, f"frozen-{i}") for i in range(20)))
    world.node.resume()
    assert {status for status, _ in answers} == {503}
    assert max(seconds for _, seconds in answers) < 3
    await world.progress(100)
    await world.nothing_is_lost(at_least=200)


async def test_memory_alarm_refuses_events_while_successes_are_acked(world: World) -> None:
    await world.progress(100)
    await asyncio.to_thread(world.node.ctl, "set_vm_memory_high_watermark", "0")

    async def refused() -> bool:
        return await world.collector.readyz(world.http) == 503

    await eventually(refused, what="the collector not ready")
    status, seconds = await _post(world, "blocked")
    assert status == 503
    assert seconds < 1
    async with Amqp(world.node.url) as amqp:

        async def drained() -> bool:
            return await amqp.depth(lane_queue(world.flow, Lane.LIVE)) == 0

        await eventually(drained, what="the queue drained while publishing is blocked")
    await eventually(lambda: world.load.accepted <= world.target.ids, what="all accepted events at the target")
    assert await world.processor.metric(world.http, "eventflow_in_flight") == 0
    await asyncio.to_thread(world.node.ctl, "set_vm_memory_high_watermark", "0.4")
    await world.progress(100)
    await world.nothing_is_lost(at_least=200)


async def test_failed_attempts_during_a_memory_alarm_are_kept_and_go_on_after_it(world: World) -> None:
    failing = True

    def answer(receipt: Receipt) -> int:
        return 500 if failing and receipt.id.endswith("0") else 200

    world.target.answer = answer
    await world.progress(300)
    await asyncio.to_thread(world.node.ctl, "set_vm_memory_high_watermark", "0")
    before = len(world.target.receipts)
    await asyncio.sleep(3)
    assert len(world.target.receipts) - before < RATE_PER_S * 3, "it must not spin"
    await asyncio.to_thread(world.node.ctl, "set_vm_memory_high_watermark", "0.4")
    failing = False
    await world.progress(100)
    await world.nothing_is_lost(at_least=400)
    async with Amqp(world.node.url) as amqp:
        assert await amqp.depth(dead_queue(world.flow)) == 0


async def test_events_queue_deleted_under_load_gets_no_false_202_and_comes_back(world: World) -> None:
    await world.progress(100)
    await world.load.stop()
    await eventually(lambda: world.load.accepted <= world.target.ids, what="an empty queue")
    async with Amqp(world.node.url) as amqp:
        await amqp.delete(lane_queue(world.flow, Lane.LIVE))
    # The same event twice at once, while its queue is missing: a returned message must not look confirmed.
    answers = await asyncio.gather(*(_post(world, "twin") for _ in range(10)))
    assert {status for status, _ in answers} == {503}
    world.load = Load(world.collector.url, RATE_PER_S)
    world.load.start()
    await world.progress(200)
    await world.nothing_is_lost(at_least=200)


async def _post(world: World, event_id: str) -> tuple[int, float]:
    began = asyncio.get_running_loop().time()
    headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
    async with world.http.post(world.collector.url, data=b"{}", headers=headers) as answer:
        return answer.status, asyncio.get_running_loop().time() - began
