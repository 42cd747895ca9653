"""Faults of the history: no event waits for it, and each attempt is on record once, or in a gap."""

import asyncio
import sqlite3
from contextlib import closing

from tests.chaos.scenario import Scenario
from tests.chaos.world import World, failing_first
from tests.support.wait import eventually
from tests.support.whole_history import recorded

AWAY_S = 60.0
WRITTEN_WITHIN_S = 60.0


async def database_killed_and_frozen(world: World) -> None:
    """The database is killed, frozen, and killed while frozen; events are delivered meanwhile."""
    assert world.database is not None
    world.target.answer = failing_first(every=7)
    for _ in range(4):
        await world.accepts(200)
        world.database.kill()
        await world.delivers(200)
        await asyncio.to_thread(world.database.start)
        await world.pause(0.0, 2.0)
        world.database.pause()
        await world.delivers(300)
        if world.dice.random() < 0.5:
            world.database.kill()
            await asyncio.to_thread(world.database.start)
        world.database.resume()
    await _is_on_record(world)


async def database_away(world: World) -> None:
    """The database is away for a minute, with a buffer that does not last so long."""
    assert world.database is not None
    await world.accepts(200)
    world.database.stop()
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(world.database.start)
    await _is_on_record(world)


async def file_locked_and_broker_killed(world: World) -> None:
    """Another process locks the file of the history, while the broker is killed: lost deliveries are on record too."""
    world.target.answer = failing_first(every=7)
    for _ in range(3):
        await world.accepts(200)
        with closing(sqlite3.connect(world.history_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await world.pause(0.5, 4.0)
            await world.crash_broker()
            await world.delivers(200)
            other.execute("ROLLBACK")
    await _is_on_record(world)


async def _is_on_record(world: World) -> None:
    """Check that the history has each attempt that the target has seen, once, and no other one."""

    async def is_written() -> bool:
        is_up = await world.processor.metric(world.http, "eventflow_history_up")
        return bool(is_up) and await world.processor.metric(world.http, "eventflow_history_pending") == 0

    async with world.load.paused():
        await world.live_queue_empty()
        await asyncio.sleep(2 * max(world.retry_delays_s))  # for the last retries
        await eventually(is_written, within_s=WRITTEN_WITHIN_S, what=lambda: f"all records:\n{world.processor.output}")
        found, attempts = await recorded(world.history_url, world.flow), len(world.target.receipts)
    missing = sum(gap.attempts for gap in found.gaps)
    world.remarks.append(f"{len(found.rows)} attempts on record, {missing} in gaps")
    assert (found.attempts, found.counted) == (attempts, attempts)


SCENARIOS = (
    Scenario(
        entry="",
        name="the history's database killed, frozen, and killed while frozen",
        fault=database_killed_and_frozen,
        history="postgresql",
        duplicates_max=0.0,
    ),
    Scenario(
        entry="",
        name="the history's database away for a minute, with a small buffer",
        fault=database_away,
        history="postgresql",
        processor={"HISTORY__BUFFER_BYTES": str(256 * 1024)},
        duplicates_max=0.0,
    ),
    Scenario(
        entry="",
        name="the history's file locked, the broker killed meanwhile",
        fault=file_locked_and_broker_killed,
        history="sqlite",
    ),
)
