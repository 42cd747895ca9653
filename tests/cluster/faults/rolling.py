"""Rolling restarts: one container after the other, as docs/availability.md describes."""

from collections.abc import Sequence

from tests.availability.scenario import Scenario, World
from tests.availability.terminal import show
from tests.cluster.stack import COLLECTORS, NODES, PROCESSORS, ComposeCluster

PAUSE_S = 5.0
PAUSE_FOR_QUOTA_S = 60.0
"""Pause after a processor: each of its restarts leaves about 3 s of the quota unused, because it joins after 4 s."""

PAUSE_BETWEEN_NODES_S = 30.0
"""Pause after a node of RabbitMQ. Processors that were connected to it lose their shares for about 3 s."""


async def _restart(world: World[ComposeCluster], services: Sequence[str], *, pause_s: float) -> None:
    for service in services:
        show(f"restarting {service}")
        await world.cluster.stop_and_start(service)
        await world.cluster.is_ready(service)
        await world.pause(pause_s)


async def restart_collectors(world: World[ComposeCluster]) -> None:
    await _restart(world, COLLECTORS, pause_s=PAUSE_S)


async def restart_processors(world: World[ComposeCluster]) -> None:
    await _restart(world, PROCESSORS, pause_s=PAUSE_FOR_QUOTA_S)
    world.remarks.append(f"{PAUSE_FOR_QUOTA_S:g} s between the processors")


async def restart_brokers(world: World[ComposeCluster]) -> None:
    for node in NODES:
        show(f"restarting {node}")
        await world.cluster.drain(node)
        await world.cluster.stop_and_start(node)
        await world.cluster.sh(f"docker compose up --detach --no-recreate --wait {node}")
        await world.pause(PAUSE_BETWEEN_NODES_S)
    world.remarks.append(f"{PAUSE_BETWEEN_NODES_S:g} s between the nodes")


SCENARIOS = (
    Scenario(name="rolling restart of collectors", fault=restart_collectors),
    Scenario(name="rolling restart of processors", fault=restart_processors),
    Scenario(name="rolling restart of brokers", fault=restart_brokers),
)
