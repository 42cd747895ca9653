"""Messages that are larger than the broker takes (`max_message_size`).

Reproduced on 0.1.0 with a limit of 300 kB: a spooled event of 400 kB was answered 202, and 53 of the 60 events behind
it stayed in the spool; without a spool one such request cost others 17 answers of 503; a copy in the processor was
tried at 2, 47 and 93 s for ever, and ended the publishing session 59 times.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from eventflow.amqp import wire
from eventflow.amqp.consumer import Consumer
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import QueueDepth
from eventflow.amqp.shared import SharedConnection
from eventflow.delivery import Delivery
from eventflow.errors import BrokerUnavailableError, MessageTooLargeError
from eventflow.message import Message, new_message_id
from eventflow.outcome import Defer
from eventflow.tasks import cancel_and_wait
from eventflow.topology import Lane, dead_queue, lane_queue
from sandbox.broker.line import Line
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.load import Load
from tests.support.proxy import Confirms, Proxy
from tests.support.services import API_KEY, Service, collector, processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

LIMIT_BYTES = 300_000
LARGE = b"x" * 400_000
FITTING = b"y" * LIMIT_BYTES


@pytest.fixture(scope="module")
def small(node: PrivateNode) -> Iterator[PrivateNode]:
    """A node that takes messages of at most 300 kB."""
    usual = node.evaluate("application:get_env(rabbit, max_message_size)")
    limit_broker(node, LIMIT_BYTES)
    yield node
    limit_broker(node, int(re.sub(r"\D", "", usual)))


@pytest.fixture
async def amqp(small: PrivateNode) -> AsyncIterator[Amqp]:
    async with Amqp(small.url) as client:
        yield client


@pytest.fixture
async def line(small: PrivateNode) -> AsyncIterator[Line]:
    async with Line(small.url) as one:
        yield one


def limit_broker(node: PrivateNode, limit_bytes: int) -> None:
    """Set the limit for the channels that are opened from now on."""
    node.evaluate(f"application:set_env(rabbit, max_message_size, {limit_bytes})")


@pytest.fixture
def movable(small: PrivateNode) -> Iterator[PrivateNode]:
    """A node whose limit the test moves."""
    yield small
    limit_broker(small, LIMIT_BYTES)


async def post(service: Service, http: aiohttp.ClientSession, event_id: str, body: bytes) -> int:
    headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
    async with http.post(service.url, data=body, headers=headers) as answer:
        return answer.status


async def wait_for_depth(amqp: Amqp, queue: str) -> None:
    async def is_there() -> bool:
        return await amqp.depth(queue) == 1

    await eventually(is_there, what="the message")


def message(body: bytes) -> Message:
    return Message(body=body, headers={}, message_id=new_message_id())


@pytest.mark.parametrize("is_supported", [True, False], ids=["the wire's way", "the library's way"])
async def test_a_publish_too_large_is_refused_and_ends_at_most_one_session(
    small: PrivateNode, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch, *, is_supported: bool
) -> None:
    """The library may send on a channel that is closed already, which ends the connection: once."""
    monkeypatch.setattr(wire, "is_supported", lambda: is_supported)
    await amqp.declare_flow(flow)
    queue = lane_queue(flow, Lane.LIVE)
    publisher = Publisher([small.url], specs=[], name=f"test {flow}")
    running = asyncio.create_task(publisher.run())
    try:
        await eventually(lambda: publisher.state == "up", what="the publisher")
        connection = publisher._connection
        bodies = [LARGE if number in {20, 21, 40} else FITTING for number in range(60)]
        innocent = []
        for publication in [publisher.publish(message(body), queue=queue) for body in bodies]:
            if publication.message.body == LARGE:
                with pytest.raises(MessageTooLargeError):
                    await publication.confirmed(timeout_s=10)
            else:
                innocent.append(publication)
        for publication in innocent if is_supported else []:
            await publication.confirmed(timeout_s=10)
        assert not is_supported or publisher._connection is connection, "not even one"
        await eventually(lambda: publisher.state == "up", what="the publisher again")
        assert publisher.max_bytes == LIMIT_BYTES
        with pytest.raises(MessageTooLargeError):
            publisher.publish(message(LARGE), queue=queue)
        await publisher.publish(message(FITTING), queue=queue).confirmed(timeout_s=10)
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_close_for_a_message_that_was_not_sent_leaves_no_publish_without_an_end(
    small: PrivateNode, flow: str, amqp: Amqp
) -> None:
    """Found by reading: the publishes of that channel were sent on no other, and nothing ended their waits."""
    await amqp.declare_flow(flow)
    queue = lane_queue(flow, Lane.LIVE)
    async with Proxy(small.url) as proxy:
        publisher = Publisher([proxy.url], specs=[], name=f"test {flow}")
        running = asyncio.create_task(publisher.run())
        try:
            await eventually(lambda: publisher.state == "up", what="the publisher")
            connection = publisher._connection
            proxy.confirms = Confirms.DROP
            publication = publisher.publish(message(FITTING), queue=queue)
            await wait_for_depth(amqp, queue)  # no frame of it is on its way then
            proxy.close_publish_channels(f"message size 9 is larger than configured max size {len(FITTING) * 2}")
            with pytest.raises(BrokerUnavailableError, match="closed a channel"):
                await publication.confirmed(timeout_s=10)
            proxy.confirms = Confirms.PASS
            await eventually(
                lambda: publisher.state == "up" and publisher._connection is not connection, what="the next session"
            )
            await publisher.publish(message(FITTING), queue=queue).confirmed(timeout_s=10)
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest.mark.parametrize("spool", [True, False])
async def test_at_the_door_it_is_answered_413_and_costs_no_other_request_its_answer(
    small: PrivateNode, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path, *, spool: bool
) -> None:
    settings = {"COLLECTOR__SPOOL_DIR": str(tmp_path / "spool")} if spool else {}
    service = collector(small.url, flow=flow, **settings)
    with service.process:
        await service.ready(http)

        async def is_connected() -> bool:  # with a spool it is ready before, and a spool takes what is too large
            async with http.get(f"{service.admin_url}/readyz") as answer:
                return bool((await answer.json())["broker"] == "up")

        await eventually(is_connected, what=lambda: service.output)
        load = Load(url=service.url, rate_per_s=100)
        load.start()
        try:
            await eventually(lambda: len(load.accepted) > 20, what="accepted events")
            assert [await post(service, http, f"large-{n}", LARGE) for n in range(5)] == [413] * 5
            assert await post(service, http, "fitting", FITTING) == 202
            enough = len(load.accepted) + 50
            await eventually(lambda: len(load.accepted) > enough, what="more accepted events")
        finally:
            await load.stop()
        assert not load.refused
        assert len(await service.logs("broker.message_too_large")) == 1
        assert "broker.session_ended" not in service.output
        lines = b"\n".join([json.dumps("a").encode(), json.dumps("b" * 400_000).encode()])
        headers = {"X-Api-Key": API_KEY, "Content-Type": "application/x-ndjson"}
        depth = await amqp.depth(lane_queue(flow, Lane.LIVE))
        async with http.post(f"{service.url}?batch=1", data=lines, headers=headers) as answer:
            assert answer.status == 413
        assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == depth, "all or none"


async def test_one_in_the_spool_is_set_aside_and_kept_until_the_broker_takes_it(
    movable: PrivateNode,
    line: Line,
    flow: str,
    amqp: Amqp,
    http: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    service = collector(line.url, flow=flow, COLLECTOR__SPOOL_DIR=str(tmp_path / "spool"))

    large = {7, *range(20, 35)}  # more of them than are read at once

    async def arrived() -> set[str]:
        """Events that were published beside one that is too large may arrive twice."""
        return {str(one.headers["cloudEvents:id"]) for one in await amqp.drain(lane_queue(flow, Lane.LIVE))}

    async def spool_has(waiting: int, aside: int) -> bool:
        # In this order: events that are set aside, or are no more, never count as neither.
        names = ("eventflow_spool_set_aside_events", "eventflow_spool_events")
        return [await service.metric(http, name) for name in names] == [aside, waiting]

    with service.process:
        await eventually(lambda: "broker.connected" in service.output, what="the session")
        await line.cut()
        for number in range(60):
            assert await post(service, http, f"event-{number}", LARGE if number in large else b"{}") == 202
        await line.mend()
        await eventually(lambda: spool_has(0, 16), what=lambda: f"all but the large ones sent\n{service.output}")
        assert await arrived() == {f"event-{number}" for number in range(60)} - {f"event-{number}" for number in large}
        assert len(await service.logs("spool.event_set_aside", count=16)) == 16
        ended = [line["connection"] for line in service.logged("broker.session_ended")]
        assert len([name for name in ended if not name.endswith(" control")]) == 1, service.output
        assert await post(service, http, "late", LARGE) == 413
        await asyncio.to_thread(service.process.stop)
    with service.process:  # it is still there, still too large, and blocks nobody
        await service.ready(http)
        await eventually(lambda: spool_has(0, 16), what="set aside anew")
        assert await post(service, http, "event-60", b"{}") == 202
        await asyncio.to_thread(limit_broker, movable, 500_000)
        await line.cut()
        await line.mend()
        await eventually(lambda: spool_has(0, 0), what=lambda: f"all sent\n{service.output}")
    assert await arrived() == {"event-60", *(f"event-{number}" for number in large)}


async def test_one_whose_copy_is_too_large_is_dead_lettered_whole_and_ends_no_session(
    movable: PrivateNode, flow: str, amqp: Amqp, http: aiohttp.ClientSession, target: ScriptedTarget
) -> None:
    target.answer = lambda receipt: 422 if receipt.body == LARGE else 200
    await amqp.declare_flow(flow)
    await asyncio.to_thread(limit_broker, movable, 500_000)
    async with Amqp(movable.url) as before:
        await before.publish(lane_queue(flow, Lane.LIVE), *before.messages(1, LARGE), *before.messages(20)[1:])
    await asyncio.to_thread(limit_broker, movable, LIMIT_BYTES)
    service = processor(movable.url, flow=flow, target_url=target.url)
    command = Command(broker_url=movable.url, flow=flow)
    with service.process:
        await service.ready(http)

        async def is_dead() -> bool:
            return await amqp.depth(dead_queue(flow)) == 1

        await eventually(is_dead, what=lambda: f"the dead letter\n{service.output}")
        await eventually(lambda: len(target.taken) == 19, what="those behind it")
        assert len(target.of("m-0")) == 1
        assert await service.metric(http, "eventflow_events_dead_lettered_total") == 1
        await eventually(lambda: '"reason": "too_large"' in service.output, what="the line of its attempt")
        assert "broker.session_ended" not in service.output
        listed = await command("dead", "list", "--reason", "too_large")
        assert "m-0" in listed.stdout
        replayed = await command("dead", "replay", "--all")
        assert replayed.status == 1
        assert "larger than the 300000 bytes" in replayed.stderr
        assert await amqp.depth(dead_queue(flow)) == 1, "it stays"
        await asyncio.to_thread(limit_broker, movable, 500_000)
        assert "replayed 1 of 1" in (await command("dead", "replay", "--all")).stdout
        await eventually(lambda: len(target.of("m-0")) == 2, what="the replay, whole")
    assert target.of("m-0")[1].body == LARGE


class Held:
    """Takes deliveries and does nothing with them."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def put(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)


class Nobody:
    """A listener that does nothing."""

    def joined(self) -> None: ...

    def depth_measured(self, lane: Lane, depth: QueueDepth, *, began_s: float, is_proved: bool) -> None: ...

    def rested(self, *, is_resting: bool) -> None: ...

    def left(self) -> None: ...

    def stuck(self, deliveries: int) -> None: ...


async def test_one_that_is_deferred_goes_back_to_its_queue(movable: PrivateNode, flow: str, amqp: Amqp) -> None:
    """While the target is down no attempt counts, so nothing is given up for it."""
    await amqp.declare_flow(flow)
    await asyncio.to_thread(limit_broker, movable, 500_000)
    async with Amqp(movable.url) as before:
        await before.publish(lane_queue(flow, Lane.LIVE), *before.messages(1, LARGE))
    await asyncio.to_thread(limit_broker, movable, LIMIT_BYTES)
    publisher = Publisher([movable.url], specs=[], name="publish")
    sink = Held()
    shared = SharedConnection([movable.url], name="consume")
    consumer = Consumer(
        shared.seat(name="consume"),
        flow=flow,
        specs=[],
        prefetch=dict.fromkeys(Lane, 10),
        sink=sink,
        publisher=publisher,
        listener=Nobody(),
        held_max_s=60,
    )
    running = [asyncio.create_task(service.run()) for service in (publisher, shared, consumer)]
    try:
        await eventually(lambda: publisher.state == "up" and len(sink.deliveries) == 1, what="the delivery")
        for times in (1, 2):  # before the limit is known, and after
            assert await consumer.settle(sink.deliveries[-1], Defer(delay_s=0.2)) == Defer(delay_s=0.2)
            await eventually(lambda: len(sink.deliveries) == times + 1, what="it comes again")  # noqa: B023
        assert sink.deliveries[-1].envelope.event.body == LARGE
    finally:
        await cancel_and_wait(*running)
