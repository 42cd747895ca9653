"""Long outages: memory must not grow."""

import asyncio

from eventflow_processor.gate.breaker import PROBE_PAUSE_MAX_S
from tests.chaos.scenario import Scenario
from tests.chaos.world import World

OUTAGE_S = 120
SPOOLING_S = 60
SETTLING_S = 10  # buffers of the first seconds do not count as growth
GROWTH_MAX_MIB = 16


async def broker_away(world: World) -> None:
    await world.accepts(500)
    world.node.kill()
    await _hold_out(world)
    await asyncio.to_thread(world.node.start)
    await world.accepts(500)


async def target_away(world: World) -> None:
    await world.delivers(500)
    world.target.answer = lambda _: 503
    await _hold_out(world)
    world.target.answer = lambda _: 200
    await world.delivers(500, within_s=PROBE_PAUSE_MAX_S + 30)


async def broker_away_spooling(world: World) -> None:
    """Every event is accepted; the collector is killed twice in the outage, and once while it empties its spool."""
    await world.accepts(1000)
    world.node.kill()
    began_s, before = world.now_s, len(world.load.latencies_s)
    for _ in range(2):
        await world.pause(10, 20)
        world.collector.process.kill()
        world.collector.process.start()
    await asyncio.sleep(max(0.0, began_s + SPOOLING_S - world.now_s))
    latencies_s = sorted(world.load.latencies_s[before:])
    p99_ms = latencies_s[len(latencies_s) * 99 // 100] * 1000
    world.remarks.append(f"{len(latencies_s)} accepted while it was down, p99 of their 202 {p99_ms:.0f} ms")
    await asyncio.to_thread(world.node.start)
    await world.delivers(500)
    world.collector.process.kill()
    await world.start(world.collector)
    await world.accepts(500)


async def _hold_out(world: World) -> None:
    """Let the outage last, and compare the memory at its start and at its end."""
    await asyncio.sleep(SETTLING_S)
    before = world.rss_mib()
    await asyncio.sleep(OUTAGE_S - SETTLING_S)
    after = world.rss_mib()
    world.remark_memory(before)
    for name, mib in before.items():
        assert after[name] - mib < GROWTH_MAX_MIB, f"{name} grew from {mib:.0f} to {after[name]:.0f} MiB"


SCENARIOS = (
    Scenario(
        entry="31",
        name=f"broker away for {SPOOLING_S} s, with a spool; collector killed 3 times",
        fault=broker_away_spooling,
        rate_per_s=500,
        spool=True,
        duplicates_max=0.01,
        rest_within_s=180,
    ),
    Scenario(entry="", name=f"broker away for {OUTAGE_S} s", fault=broker_away, deadline_s=240),
    Scenario(
        entry="",
        name=f"target away for {OUTAGE_S} s",
        fault=target_away,
        rate_per_s=100,
        deadline_s=300,
        note="lower rate, so that the backlog is delivered in time",
    ),
)
