"""The machine of the collector: a disk that hangs, and workers without their parent."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.wait import eventually

WORKERS = 3
ENDED_WITHIN_S = 15.0


async def spool_hanging(world: World) -> None:
    """The disk of the spool hangs while the broker runs, while it is down, and while the spool empties."""
    assert world.disk is not None
    await world.accepts(300)
    world.disk.hang("fsync", "flock", "open", "statvfs")
    await world.accepts(600)
    await _is_ready(world, 200)
    world.node.kill()
    await asyncio.sleep(1)  # for confirms that were sent before
    start_s = world.now_s
    await asyncio.sleep(4)
    world.accepts_none_since(start_s)
    await _is_ready(world, 503)
    world.disk.heal()
    await world.accepts(600)
    world.disk.hang("fsync")
    await asyncio.to_thread(world.node.start)
    await world.accepts(300)
    world.disk.heal()
    await world.delivers(600)


async def workers_orphaned(world: World) -> None:
    """The parent of the workers is stopped, the broker is killed, and then the parent: the workers must end too."""
    for _ in range(2):
        await world.accepts(300)
        workers = _workers(world)
        assert len(workers) == WORKERS
        os.kill(world.collector.process.pid, signal.SIGSTOP)
        await world.crash_broker()  # the workers report it to the parent, which reads nothing
        await asyncio.sleep(1)
        os.kill(world.collector.process.pid, signal.SIGKILL)
        await _all_end(workers)
        await asyncio.to_thread(world.collector.process.wait, 5)
        await world.start(world.collector)
    await world.delivers(300)


async def _is_ready(world: World, status: int) -> None:
    details = await world.collector.readiness(world.http)
    assert (details["status"], details["spool"]) == (status, "stuck"), details


def _workers(world: World) -> list[int]:
    pid = world.collector.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def _all_end(workers: list[int]) -> None:
    try:
        await eventually(lambda: not any(map(_is_running, workers)), within_s=ENDED_WITHIN_S, what="the workers' end")
    finally:
        for pid in filter(_is_running, workers):
            os.kill(pid, signal.SIGKILL)


def _is_running(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


SCENARIOS = (
    Scenario(
        entry="",
        name="the spool's disk hangs, with the broker up and down",
        fault=spool_hanging,
        spool=True,
        faulty_disk=True,
        duplicates_max=0.02,
    ),
    Scenario(
        entry="",
        name="workers orphaned: their parent stopped, the broker killed, the parent killed; twice",
        fault=workers_orphaned,
        collector={"COLLECTOR__WORKERS": str(WORKERS)},
    ),
)
