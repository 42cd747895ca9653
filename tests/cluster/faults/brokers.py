"""All brokers away: the spools of the collectors take every event."""

from tests.availability.result import Goal
from tests.availability.scenario import Scenario, World
from tests.availability.terminal import show
from tests.cluster.stack import COLLECTORS, NODES, ComposeCluster

AWAY_S = 60.0
RESTART_AFTER_S = 20.0


async def all_brokers_away(world: World[ComposeCluster]) -> None:
    cluster, collector = world.cluster, COLLECTORS[0]
    await cluster.sh(f"docker compose kill {' '.join(NODES)}")
    await world.pause(RESTART_AFTER_S)
    show(f"restarting {collector}, which has events in its spool")
    await cluster.stop_and_start(collector)
    await world.pause(AWAY_S - RESTART_AFTER_S)
    await cluster.sh(f"docker compose up --detach --no-recreate --wait {' '.join(NODES)}", within_s=300)
    await cluster.is_ready(collector)
    await world.delivers(100)


SCENARIOS = (
    Scenario(
        name="all brokers killed for 60 s, a collector restarted meanwhile",
        fault=all_brokers_away,
        goal=Goal(quota_min=None),
        rest_within_s=400,
    ),
)
