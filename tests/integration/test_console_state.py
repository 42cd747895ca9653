"""The state that a console shows, beside real services."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from itertools import pairwise

import aio_pika
import aiohttp
import pytest

from eventflow.errors import BrokerUnavailableError
from eventflow.operations.status.look import Lookout, Status
from eventflow.operations.status.standing import Standing
from eventflow.topology import Lane, dead_queue, lane_queue
from eventflow_console import state as state_module
from eventflow_console.present import FlowState, Present
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.console import ConsoleParts, console_parts
from tests.support.nodes import memory_alarm
from tests.support.services import API_KEY, collector, processor, starting
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually


async def post(http: aiohttp.ClientSession, url: str, events: int) -> None:
    for _ in range(events):
        async with http.post(url, data=b"{}", headers={"X-Api-Key": API_KEY}) as answer:
            assert answer.status == 202


async def shown(console: ConsoleParts, flow: str) -> FlowState:
    return (await console.state.fresh()).flows[flow]


async def test_a_flow_without_services_shows_its_queues(broker_url: str, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow)
    await amqp.publish(lane_queue(flow, Lane.LIVE), *Amqp.messages(3))
    await amqp.publish(dead_queue(flow), *Amqp.messages(2))
    async with console_parts(broker_url, flow, "other") as console:

        async def is_up() -> bool:
            return (await console.state.fresh()).broker.is_up is True

        await eventually(is_up, what="the broker")  # on a busy machine, the first look takes longer than a view waits
        present = await console.state.fresh()
        found = present.flows[flow]
        assert found.standing is Standing.NO_PROCESSOR
        assert (found.live, found.due, found.replay, found.dead, found.delayed) == (3, 0, 0, 2, 0)
        assert (found.held, found.in_per_s, found.is_paused) == (0, None, False)
        missing = present.flows["other"]
        assert (missing.live, missing.dead, missing.delayed) == (None, None, None)
        with pytest.raises(KeyError):
            present.flows["unknown"]


async def test_the_services_report_what_they_do(
    broker_url: str, flow: str, http: aiohttp.ClientSession, target: ScriptedTarget
) -> None:
    target.answer = lambda receipt: 200
    async with starting(http) as start, console_parts(broker_url, flow) as console:
        accepting = await start(collector(broker_url, flow=flow))
        sending = await start(
            processor(broker_url, flow=flow, target_url=target.url, TARGET__RATE_PER_S="2", TARGET__BURST="1")
        )

        async def are_both_there() -> bool:
            found = await shown(console, flow)
            return len(found.collectors) == len(found.processors) == 1

        await eventually(are_both_there, what=lambda: f"{console.state.present}\n{sending.output}")
        await post(http, accepting.url, 30)

        async def is_shown() -> bool:
            found = await shown(console, flow)
            return bool(found.in_per_s and found.oldest_s and found.waiting)

        await eventually(is_shown, what=lambda: str(console.state.present))
        found = await shown(console, flow)
        assert found.standing in {Standing.FLOWING, Standing.THROTTLED}
        assert found.rate.limit_per_s == 2.0
        assert found.processors[0].share_per_s == 2.0
        assert found.collectors[0].broker == "up"
        assert found.target is not None
        assert found.target.state == "up"

        async def is_told() -> bool:
            if not target.receipts:  # a processor sends only when two checks have shown that it is alone
                return False
            answers, processors = await console.state.ask_why(flow, target.receipts[0].id)
            assert (processors, len(answers)) == (1, 1)
            [known] = answers.values()
            return known.last is not None and known.last.outcome == "delivered"

        await eventually(is_told, what="the delivery of the first event")


async def test_the_accepted_events_are_counted_once(
    broker_url: str, flow: str, http: aiohttp.ClientSession, amqp: Amqp
) -> None:
    await amqp.declare_flow(flow)
    accepted: list[int] = []
    async with starting(http) as start, console_parts(broker_url, flow) as console:
        console.state.on_look(lambda intakes, _: accepted.append(intakes[flow].accepted or 0))
        accepting = await start(collector(broker_url, flow=flow, COLLECTOR__WORKERS="2"))

        async def are_both_known() -> bool:
            return len((await shown(console, flow)).collectors) == 2

        await eventually(are_both_known, what="both workers")
        await post(http, accepting.url, 25)

        async def are_counted() -> bool:
            await console.state.fresh()
            return sum(accepted) >= 25

        await eventually(are_counted, what=lambda: str(accepted))
        await asyncio.sleep(1.5)
        assert sum(accepted) == 25


@pytest.mark.timed
async def test_viewers_share_one_watcher_which_rests_without_them(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await amqp.declare_flow(flow)
    monkeypatch.setattr(state_module, "WATCHED_FOR_S", 0.1)
    looks: list[float] = []  # the time at which each began
    loop = asyncio.get_running_loop()
    look = Lookout.look

    async def noted_look(lookout: Lookout) -> Status:
        looks.append(loop.time())
        return await look(lookout)

    monkeypatch.setattr(Lookout, "look", noted_look)
    async with console_parts(broker_url, flow) as console:

        async def view(until_s: float) -> int:
            seen = 0
            async with aclosing(console.state.changes()) as changes:
                try:
                    async with asyncio.timeout_at(until_s):
                        async for _ in changes:
                            seen += 1
                except TimeoutError:
                    return seen
            raise AssertionError("the changes have no end")

        await console.state.fresh()
        began_s = loop.time()
        seen = await asyncio.gather(*(view(began_s + 3.5) for _ in range(10)))
        assert 2 <= len(looks) <= 5
        assert max(seen) <= 2, "nothing has changed"
        await asyncio.sleep(1.5)  # the last look of these viewers
        count = len(looks)
        await asyncio.sleep(3)
        assert len(looks) == count, "no person looks on"
        await amqp.publish(lane_queue(flow, Lane.LIVE), *Amqp.messages(1))
        began_s = loop.time()
        assert (await shown(console, flow)).live == 1
        assert loop.time() - began_s < 2.5
        assert all(later - earlier > 0.9 for earlier, later in pairwise(looks))


async def test_a_change_is_shown_once(broker_url: str, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow)
    async with console_parts(broker_url, flow) as console, aclosing(console.state.changes()) as changes:
        found: Present = await anext(changes)
        while found.flows[flow].live is None:
            found = await anext(changes)
        assert found.flows[flow].live == 0
        await amqp.publish(lane_queue(flow, Lane.LIVE), *Amqp.messages(4))
        assert (await anext(changes)).flows[flow].live == 4


async def test_a_broker_that_goes_away_leaves_the_last_look_and_comes_back(node: PrivateNode, flow: str) -> None:
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        await amqp.publish(dead_queue(flow), aio_pika.Message(b"{}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT))
    async with console_parts(node.url, flow) as console:
        assert (await shown(console, flow)).dead == 1
        await asyncio.to_thread(node.kill)
        try:
            await console.state.fresh()

            async def is_noticed() -> bool:
                return (await console.state.fresh()).broker.is_up is False

            await eventually(is_noticed, what=lambda: str(console.state.present))
            present = await console.state.fresh()
            assert present.broker.reason
            assert present.flows[flow].dead == 1, "the last look"
            assert present.at is not None
            assert present.at <= present.broker.since
            since = present.broker.since
            with pytest.raises(BrokerUnavailableError):
                await console.state.ask_why(flow, "a")
            with pytest.raises(BrokerUnavailableError):
                await console.dead_letters.find(flow, "a")
        finally:
            await asyncio.to_thread(node.start)

        async def is_back() -> bool:  # the queue itself needs a moment more
            present = await console.state.fresh()
            return bool(present.broker.is_up) and present.flows[flow].dead == 1

        await eventually(is_back, within_s=30, what=lambda: str(console.state.present))
        present = await console.state.fresh()
        assert present.broker.since > since
        assert present.broker.reason is None


async def test_services_that_cannot_be_asked_during_an_alarm_are_asked_after_it(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession, target: ScriptedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "UNASKED_FOR_S", 1.0)
    async with starting(http) as start:
        await start(processor(node.url, flow=flow, target_url=target.url))
        async with AsyncExitStack() as alarm:
            await alarm.enter_async_context(memory_alarm(node))
            async with console_parts(node.url, flow) as console:

                async def is_unasked() -> bool:
                    return (await console.state.fresh()).unasked is not None

                await eventually(is_unasked, what=lambda: str(console.state.present))
                assert console.state.present.broker.is_up
                await alarm.aclose()

                async def is_asked() -> bool:
                    present = await console.state.fresh()
                    return present.unasked is None and bool(present.flows[flow].processors)

                await eventually(is_asked, what=lambda: str(console.state.present))
