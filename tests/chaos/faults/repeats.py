"""Senders that post each event twice, to a flow with a dedup window."""

from tests.chaos.scenario import Scenario
from tests.chaos.world import World


async def broker_and_collector_killed(world: World, *, times: int = 3) -> None:
    """The second post of an event comes before the first is confirmed or lost, or after a restart of the collector."""
    for number in range(times):
        await world.accepts(world.dice.randrange(50, 200))
        world.node.pause()
        await world.pause(0.1, 1.0)
        if number % 2:
            world.collector.process.kill()
        await world.crash_broker()
        if not world.collector.process.alive:
            await world.start(world.collector)
    await world.accepts(100)
    deduplicated = await world.collector.metric(world.http, "eventflow_events_deduplicated_total")
    assert deduplicated > 0, "no repeat was found"
    world.remarks.append(f"{deduplicated:.0f} repeats found since the collector's last start")


EACH_EVENT_TWICE = Scenario(
    entry="-",
    name="each event posted twice, with a dedup window; broker frozen and killed, collector killed",
    fault=broker_and_collector_killed,
    at_least=1500,
    posts=2,
    source={"DEDUP_S": "60"},
)

SCENARIOS = (EACH_EVENT_TWICE,)
