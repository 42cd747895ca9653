"""Faults in RabbitMQ itself: alarms, timeouts, deleted queues, expiry."""

import asyncio

from eventflow.topology import Lane, flow_specs, lane_queue
from tests.chaos.scenario import Scenario
from tests.chaos.world import POISONED, World, failing_first, number_of
from tests.support.target import Receipt
from tests.support.wait import eventually

ALARM_S = 10.0
CONSUMER_TIMEOUT_S = 5


async def memory_alarm(world: World) -> None:
    await _alarm(world, ("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.4"))


async def disk_alarm(world: World) -> None:
    await _alarm(world, ("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "50MB"))


async def _alarm(world: World, raising: tuple[str, ...], clearing: tuple[str, ...]) -> None:
    """Events are refused, queued events are delivered and acked, retries wait without spinning; then all recovers."""
    world.target.answer = failing_first(every=10)
    await world.accepts(500)
    before = world.rss_mib()
    await asyncio.to_thread(world.node.ctl, *raising)
    try:

        async def refuses() -> bool:
            return await world.collector.readyz(world.http) == 503

        await eventually(refuses, what="the collector not ready")
        since_s = world.now_s
        async with world.amqp() as amqp:

            async def empty() -> bool:
                return await amqp.depth(world.live_queue) == 0

            await eventually(empty, what="an empty queue while publishing is blocked")
        await asyncio.sleep(ALARM_S)
        world.accepts_none_since(since_s)
        assert world.attempts_since(since_s) < world.load.rate_per_s * ALARM_S, "attempts spin during the alarm"
        world.remark_memory(before)
    finally:
        await asyncio.to_thread(world.node.ctl, *clearing)
    await world.accepts(500)


async def consumer_timeout(world: World) -> None:
    """The broker closes the channel during attempts: they are not aborted, and the consumer recovers."""
    hanging = True
    outlasted = 0

    async def answer(receipt: Receipt) -> int:
        nonlocal outlasted
        if hanging and number_of(receipt) % 400 == 0:
            await asyncio.sleep(2.5 * CONSUMER_TIMEOUT_S)
            outlasted += 1  # this handler ends even without its connection; `taken` has only answers that could be sent
        return 200

    await _set_consumer_timeout(world, CONSUMER_TIMEOUT_S * 1000, tick_ms=500)
    try:
        await world.terminate(world.processor)
        await world.start(world.processor)  # a channel reads the timeout when it opens
        world.target.answer = answer
        began_s = world.now_s
        await asyncio.sleep(4 * CONSUMER_TIMEOUT_S)
        assert "session_ended" in world.processor.output, "the broker did not time the consumer out"
        hung = [receipt for receipt in world.target.taken if number_of(receipt) % 400 == 0 and receipt.at_s > began_s]
        assert hung, "every attempt that hung was aborted"
        await world.delivers(200)
        hanging = False
        world.remarks.append(f"{len(hung)} of {outlasted} hung attempts ended with an answer")
    finally:
        await _set_consumer_timeout(world, 1_800_000, tick_ms=60_000)


async def _set_consumer_timeout(world: World, timeout_ms: int, *, tick_ms: int) -> None:
    values = {"consumer_timeout": timeout_ms, "channel_tick_interval": tick_ms}
    for name, value in values.items():
        await asyncio.to_thread(world.node.ctl, "eval", f"application:set_env(rabbit, {name}, {value}).")


async def events_queue_deleted(world: World) -> None:
    """The queue is missing while events arrive, one of them ten times at once: no false 202, and it is restored."""
    for number in range(3):
        await world.accepts(world.dice.randrange(100, 400))
        async with world.load.paused(), world.amqp() as amqp:
            await world.live_queue_empty()
            await amqp.delete(world.live_queue)
            answers = await asyncio.gather(*(world.post(f"twin-{number}") for _ in range(10)))
            assert set(answers) == {503}, f"answers without a queue: {answers}"
        await world.accepts(100)
    await world.delivers(200)


async def lanes_deleted_and_declared_again(world: World) -> None:
    """Another client declares the lanes again before the processor does: the consumers still return."""
    world.target.answer = failing_first(every=20)
    lanes = {spec.name: spec for spec in flow_specs(world.flow, world.retry_delays_s)}
    for lane in (Lane.LIVE, Lane.DUE, Lane.LIVE):
        await world.delivers(200)
        queue = lane_queue(world.flow, lane)
        async with world.load.paused(), world.amqp() as amqp:
            await _all_delivered(world)
            await amqp.delete(queue)
            await world.pause(0.2, 0.8)
            await amqp.declare([lanes[queue]])

            async def consumed() -> bool:
                return await amqp.consumers(queue) == 1  # noqa: B023 - awaited at once

            await eventually(consumed, within_s=30, what=lambda: f"a consumer of {queue}")  # noqa: B023
    await world.delivers(200)


async def dead_queue_deleted(world: World) -> None:
    """Without their queue, dead letters stay in the source queue until the dead queue exists again."""
    await world.accepts(300)
    async with world.amqp() as amqp:
        await amqp.delete(world.dead_queue)
    world.target.answer = lambda receipt: POISONED if number_of(receipt) % 20 == 0 else 200
    await world.accepts(500)

    async def kept() -> bool:
        async with world.amqp() as amqp:
            return await amqp.depth(world.dead_queue) > 0

    await eventually(kept, within_s=30, what="dead letters in a new dead queue")


async def broker_killed_during_expiry(world: World) -> None:
    """Ten thousand retries expire from their queue into `due` while the broker is killed several times."""
    world.target.answer = failing_first(every=1)
    await world.accepts(10_000)
    for _ in range(3):
        await world.pause(0.5, 3.0)
        await world.crash_broker()


async def _all_delivered(world: World) -> None:
    await eventually(
        lambda: world.load.accepted <= {receipt.id for receipt in world.target.taken},
        what="every accepted event delivered",
    )
    await world.live_queue_empty()


EVENTS_QUEUE_DELETED = Scenario(entry="9", name="events queue deleted 3 times", fault=events_queue_deleted)
MEMORY_ALARM = Scenario(entry="10", name="memory alarm", fault=memory_alarm)

SCENARIOS = (
    EVENTS_QUEUE_DELETED,
    MEMORY_ALARM,
    Scenario(entry="11", name="disk alarm", fault=disk_alarm),
    Scenario(
        entry="15 18",
        name="consumer timeout below attempts in flight",
        fault=consumer_timeout,
        processor={"TARGET__TIMEOUT_S": "60"},
        note=f"timeout {CONSUMER_TIMEOUT_S} s in place of 60 s",
    ),
    Scenario(
        entry="16", name="lanes deleted and declared again by another client", fault=lanes_deleted_and_declared_again
    ),
    Scenario(
        entry="22",
        name="broker killed 3 times while 10 000 retries expire",
        fault=broker_killed_during_expiry,
        rate_per_s=500,
        at_least=10_000,
        retry_delays_s=(12.0,),
    ),
    Scenario(
        entry="23",
        name="dead queue deleted, then poison events",
        fault=dead_queue_deleted,
        processor={"TARGET__MAX_ATTEMPTS": "2"},
    ),
)
