"""Faults between the outbox, a relay and the broker."""

import asyncio

import asyncpg

from tests.chaos.faults.kills import publishing
from tests.chaos.handlers.scenario import HandlerScenario
from tests.chaos.handlers.world import HandlerWorld
from tests.support.wait import eventually

DELETE, COMMIT = b"DELETE FROM eventflow.outbox", b"COMMIT"
PUT = "INSERT INTO eventflow.outbox (flow, id, type, body) VALUES ($1, $2, 'chaos.late', '')"
LATE_WITHIN_S = 3.0
"""A relay looks at all rows every second, and reads a row that was committed late no later than that."""


async def killed_before_confirm(world: HandlerWorld, *, times: int = 3) -> None:
    """The broker has the events, and the relay does not learn it."""
    for number in range(times):
        part = world.relays[number % 2]
        await world.delivers(world.dice.randrange(20, 60))
        with part.broker.stalled(to_broker=False, applies=publishing):
            await eventually(lambda: _is_out_before_its_end(world), what="an event at the target and in the outbox")
            await world.kill(part)
        await world.start(part.service)
    await world.delivers(50)


async def _is_out_before_its_end(world: HandlerWorld) -> bool:
    taken = {receipt.id for receipt in world.target.taken}
    return bool(taken & (await world.outbox()).keys())


async def killed_before_publish(world: HandlerWorld, *, times: int = 3) -> None:
    """The relay has written the events to its connection, and none of them reaches the broker."""
    for number in range(times):
        part = world.relays[number % 2]
        await world.delivers(world.dice.randrange(20, 60))
        with part.broker.stalled(to_broker=True, applies=publishing):
            await world.pause(0.5, 0.8)
            await world.kill(part)
        await world.start(part.service)
    await world.delivers(50)


async def killed_before_delete(world: HandlerWorld) -> None:
    """The events are confirmed, and their rows are still there."""
    await _killed_at(world, DELETE)


async def killed_at_commit(world: HandlerWorld) -> None:
    """The rows are deleted, and the relay is killed before the COMMIT or before its answer."""
    await _killed_at(world, COMMIT)
    await _killed_at(world, COMMIT, answers=True)


async def _killed_at(world: HandlerWorld, text: bytes, *, answers: bool = False, times: int = 2) -> None:
    for number in range(times):
        part = world.relays[number % 2]
        await world.delivers(world.dice.randrange(20, 60))
        with part.database.holding(text, answers=answers) as hold:
            await eventually(lambda: hold.count > 0, what=f"{text.decode()} of a relay")
            await world.kill(part)
        await world.start(part.service)
    await world.delivers(50)


async def broker_killed(world: HandlerWorld) -> None:
    """The broker is killed, also while it is frozen: with it go the events that it had not confirmed."""
    for number in range(3):
        await world.delivers(world.dice.randrange(20, 60))
        if number:
            world.node.pause()
            await world.pause(0.1, 1.0)
        await world.crash_broker()
    await world.delivers(50)


async def database_killed(world: HandlerWorld) -> None:
    """The database is killed while relays hold rows, and frozen once."""
    for _ in range(2):
        await world.delivers(world.dice.randrange(20, 60))
        world.database.kill()
        await asyncio.to_thread(world.database.start)
    await world.delivers(50)
    world.database.pause()
    await world.pause(1.0, 3.0)
    world.database.resume()
    await world.delivers(50)


async def committed_late(world: HandlerWorld, *, times: int = 3) -> None:
    """A row with a low number is committed when the relays have published many rows with higher numbers."""
    for number in range(times):
        event_id = f"late-{number}"
        connection = await asyncpg.connect(world.database.url)
        try:
            async with connection.transaction():
                await connection.execute(PUT, world.other_flow, event_id)
                await world.delivers(100)
            world.put.add(event_id)
        finally:
            await connection.close()
        await eventually(lambda: event_id in world.target.ids, within_s=LATE_WITHIN_S, what=event_id)  # noqa: B023 - awaited at once


async def everything_killed(world: HandlerWorld) -> None:
    """Processors, relays, database and broker are killed in random order, at random moments."""
    parts = [*world.processors, *world.relays]
    for _ in range(6):
        await world.delivers(world.dice.randrange(20, 60))
        victims = world.dice.sample(parts, 2)
        for victim in victims:
            await world.kill(victim)
            await world.pause(0.0, 0.2)
        if world.dice.random() < 0.5:
            world.database.kill()
            await asyncio.to_thread(world.database.start)
        else:
            await world.crash_broker()
        for victim in victims:
            await world.start(victim.service)
    await world.delivers(50)


BEFORE_CONFIRM = HandlerScenario(name="relay: killed 3 times, published and not confirmed", fault=killed_before_confirm)
COMMITTED_LATE = HandlerScenario(name="relay: 3 rows committed late, below the floor", fault=committed_late)
BEFORE_PUBLISH = HandlerScenario(name="relay: killed 3 times, publishes on the way", fault=killed_before_publish)

SCENARIOS = (
    BEFORE_PUBLISH,
    BEFORE_CONFIRM,
    HandlerScenario(name="relay: killed twice, confirmed and not deleted", fault=killed_before_delete),
    HandlerScenario(
        name="relay: killed 3 times, deleted and not committed, or without the answer", fault=killed_at_commit
    ),
    HandlerScenario(name="relay: broker killed 3 times, twice of them frozen", fault=broker_killed),
    HandlerScenario(name="relay: database killed twice and frozen", fault=database_killed),
    COMMITTED_LATE,
    HandlerScenario(
        name="handler and relay: processors, relays, database and broker killed in random order",
        fault=everything_killed,
    ),
)
