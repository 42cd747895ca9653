"""Connections to the collector: idle ones that hold descriptors, and half-closed ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from sandbox.source.sending import Sent
from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.services import API_KEY

IDLE = 300
HALF_CLOSED = 600


@asynccontextmanager
async def idle_connections(world: World) -> AsyncIterator[None]:
    """Hold more idle connections open than the collector has descriptors."""
    place = urlsplit(world.collector.url)
    async with AsyncExitStack() as stack:
        for _ in range(IDLE):
            _, writer = await asyncio.open_connection(place.hostname, place.port)
            stack.callback(writer.close)
        yield


async def descriptors_taken(world: World) -> None:
    """Idle connections take all descriptors several times, once while the broker is down and the spool is needed."""
    await world.accepts(300)
    for _ in range(3):
        async with idle_connections(world):
            await world.accepts(300)
            assert await world.collector.readyz(world.http) == 200
    world.node.kill()
    async with idle_connections(world):
        await world.accepts(600)
        await asyncio.to_thread(world.node.start)
        await world.delivers(600)
    assert "connections.exhausted" in world.collector.output


async def connections_half_closed(world: World) -> None:
    """Senders half-close their connection after each request, besides the usual load, while the broker is killed."""
    await world.accepts(300)
    sending = asyncio.create_task(_half_closed(world))
    await world.crash_broker()
    answered = await sending
    assert answered == HALF_CLOSED, f"{HALF_CLOSED - answered} half-closed requests got no answer"
    await world.delivers(600)


async def _half_closed(world: World) -> int:
    """Send requests one after the other; return the number of answers."""
    answered = 0
    for number in range(HALF_CLOSED):
        event_id = f"half-closed-{number}"
        status = await _post_half_closed(world.collector.url, event_id)
        answered += status is not None
        if status == 202:
            world.load.accepted_at_s[event_id] = world.now_s
        else:
            world.load.unaccepted[event_id] = Sent(
                event_id=event_id, body="", status=status, problem="not accepted", latency_s=0, late_s=0
            )
        await asyncio.sleep(0.01)
    return answered


async def _post_half_closed(url: str, event_id: str) -> int | None:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"POST {place.path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {API_KEY}\r\nIdempotency-Key: {event_id}\r\n"
    writer.write(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
    writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()  # until the collector closes the connection
    writer.close()
    return int(answer.split(b" ", 2)[1]) if answer else None


SCENARIOS = (
    Scenario(
        entry="",
        name="idle connections hold every descriptor of the collector (ulimit -n 64); broker killed meanwhile",
        fault=descriptors_taken,
        spool=True,
        collector_descriptors="-n 64",
    ),
    Scenario(
        entry="",
        name="senders half-close their connections after their requests; broker killed meanwhile",
        fault=connections_half_closed,
        spool=True,
    ),
)
