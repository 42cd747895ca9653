"""Unusual and too large messages, and shutdowns with messages in flight."""

import asyncio

from eventflow.message import ID
from eventflow.topology import Lane, lane_queue
from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.services import API_KEY
from tests.support.tables import DELIVERY_MODE, HEADERS, PERSISTENT, RawProperties, entry, long, nested

LIMIT_BYTES = 300_000
LARGE = b"x" * 400_000
NESTED = 20


async def oversized(world: World) -> None:
    """Events above the broker's limit are answered 413, and all others are accepted."""
    await _set_limit(world, LIMIT_BYTES)
    try:
        await world.terminate(world.collector)
        await world.start(world.collector)  # so that its channels have the new limit
        await world.accepts(500)
        refused_before = sum(world.load.refused.values())
        for number in range(10):
            assert await _post(world, f"large-{number}", LARGE) == 413
            await world.accepts(20)
        assert sum(world.load.refused.values()) == refused_before, f"others were refused: {dict(world.load.refused)}"
    finally:
        await _set_limit(world, 134_217_728)


async def nested_headers(world: World) -> None:
    """Another client publishes messages with 500 nested tables: they are events, and no session ends."""
    await world.delivers(500)
    properties = [
        RawProperties(
            HEADERS | DELIVERY_MODE,
            long(entry(ID.encode(), b"S", long(f"nested-{n}".encode())) + entry(b"deep", b"F", nested(500))),
            PERSISTENT,
        )
        for n in range(NESTED)
    ]
    async with world.amqp() as amqp:
        for number, one in enumerate(properties):
            lane = list(Lane)[number % len(Lane)]
            await amqp.publish_raw(one, b"{}", queue=lane_queue(world.flow, lane))
            world.load.accepted_at_s[f"nested-{number}"] = world.now_s  # confirmed, so it must not be lost
            await world.delivers(20)
    assert "broker.session_ended" not in world.processor.output, world.processor.output


async def stopped_while_frozen(world: World) -> None:
    """SIGTERM while the broker is frozen ends both services cleanly; unacked deliveries are repeated."""
    await world.delivers(500)
    for service in (world.processor, world.collector):
        world.node.pause()
        try:
            await asyncio.sleep(1)
            await world.terminate(service)
        finally:
            world.node.resume()
        await world.start(service)
        await world.delivers(200)


async def _set_limit(world: World, limit_bytes: int) -> None:
    """Set the largest message on channels that are opened from now on."""
    await asyncio.to_thread(world.node.ctl, "eval", f"application:set_env(rabbit, max_message_size, {limit_bytes}).")


async def _post(world: World, event_id: str, body: bytes) -> int:
    headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
    async with world.http.post(world.collector.url, data=body, headers=headers) as answer:
        return answer.status


SCENARIOS = (
    Scenario(entry="", name="messages larger than the broker accepts", fault=oversized, at_least=2000),
    Scenario(entry="", name="messages with nested headers", fault=nested_headers, at_least=2000),
    Scenario(
        entry="29", name="both services stopped while the broker is frozen", fault=stopped_while_frozen, at_least=2000
    ),
)
