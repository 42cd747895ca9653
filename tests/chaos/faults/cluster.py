"""A cluster of three nodes: leaders are killed, a member is cut off, the majority is down."""

import asyncio

from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.wait import eventually

RATE_PER_S = 100.0  # three nodes and everything else share the machine


async def leader_killed(world: World) -> None:
    """A killed node is back before the next leader is killed, so that a majority always runs."""
    for _ in range(10):
        await world.accepts(world.dice.randrange(100, 250))
        leader = await asyncio.to_thread(world.cluster.leader_of, world.live_queue)
        assert leader is not None, "the events queue has no leader"
        leader.kill()
        await world.accepts(100)
        await asyncio.to_thread(leader.start)


async def member_cut_off(world: World) -> None:
    """The leader loses its peers while both services still reach it; afterwards it is restarted."""
    for _ in range(2):
        await world.accepts(world.dice.randrange(100, 400))
        leader = await asyncio.to_thread(world.cluster.leader_of, world.live_queue)
        assert leader is not None, "the events queue has no leader"
        with world.cluster.isolated(leader):
            await world.pause(5, 10)
        await asyncio.to_thread(leader.restart)  # after a partition RabbitMQ does not repair its metadata by itself
        await world.accepts(200)


async def majority_down(world: World) -> None:
    await world.accepts(500)
    survivor, *others = world.dice.sample(world.cluster.nodes, 3)
    for node in others:
        node.kill()
    await asyncio.sleep(0.5)
    since_s = world.now_s
    await asyncio.sleep(15)
    world.accepts_none_since(since_s)
    assert survivor.alive
    await asyncio.gather(*(asyncio.to_thread(node.start) for node in others))
    await world.accepts(500)
    await eventually(lambda: world.load.accepted_between(since_s, world.now_s) > 500, what="events accepted again")


SCENARIOS = (
    Scenario(
        entry="19",
        name="leader of the events queue killed 10 times",
        fault=leader_killed,
        nodes=3,
        rate_per_s=RATE_PER_S,
        deadline_s=300,
        duplicates_max=0.01,
    ),
    Scenario(
        entry="20",
        name="leader cut off from its peers, twice",
        fault=member_cut_off,
        nodes=3,
        rate_per_s=RATE_PER_S,
        note="by Erlang's cookie, not in the network",
    ),
    Scenario(entry="21", name="two of three nodes down", fault=majority_down, nodes=3, rate_per_s=RATE_PER_S),
)
