"""Rolling restarts: one container after the other, as docs/availability.md describes."""

from collections.abc import Sequence

from tests.availability.scenario import Scenario, World
from tests.cluster.stack import COLLECTORS, NODES, PROCESSORS, ComposeCluster


async def _restart_services(world: World[ComposeCluster], services: Sequence[str]) -> None:
    for service in services:
        world.show(f"restarting {service}")
        await world.cluster.stop_and_start(service)
        await world.cluster.is_ready(service)
        await world.pause(5)


async def restart_collectors(world: World[ComposeCluster]) -> None:
    await _restart_services(world, COLLECTORS)


async def restart_processors(world: World[ComposeCluster]) -> None:
    await _restart_services(world, PROCESSORS)


async def restart_brokers(world: World[ComposeCluster]) -> None:
    for node in NODES:
        world.show(f"restarting {node}")
        await world.cluster.has_quorum()
        await world.cluster.stop_and_start(node)
        await world.cluster.sh(f"docker compose up --detach --no-recreate --wait {node}")
    await world.cluster.has_quorum()


SCENARIOS = (
    Scenario(name="rolling restart of collectors", fault=restart_collectors),
    Scenario(name="rolling restart of processors", fault=restart_processors),
    Scenario(name="rolling restart of brokers", fault=restart_brokers),
)
