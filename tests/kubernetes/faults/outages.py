"""All brokers away: the collectors keep the events in their spools."""

import asyncio

from tests.availability.result import Goal
from tests.availability.scenario import Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.installation import BROKER_NODES, BROKER_PODS, BROKERS, COLLECTOR_PODS

AWAY_S = 60.0


async def brokers_away(world: KubernetesWorld) -> None:
    """The brokers are killed; meanwhile a collector pod is deleted, with events in its spool."""
    kubectl = world.cluster.kubectl
    await kubectl("scale", BROKERS, "--replicas=0")
    await kubectl("delete", "pods", f"--selector={BROKER_PODS}", "--force", "--grace-period=0")
    await world.pause(AWAY_S / 4)
    pod = min(await world.cluster.pods(COLLECTOR_PODS))
    deleting = asyncio.create_task(kubectl("delete", "pod", pod, within_s=180))
    await world.pause(AWAY_S * 3 / 4)
    world.remarks.append(f"{await world.cluster.spooled():.0f} events in the spools after {AWAY_S:g} s")
    await kubectl("scale", BROKERS, f"--replicas={BROKER_NODES}")
    await deleting
    await world.cluster.ready(within_s=400)
    await world.cluster.spools_empty(within_s=180)


CASES = (
    Case(
        scenario=Scenario(
            name="all brokers away for 60 s, a collector pod deleted meanwhile",
            fault=brokers_away,
            goal=Goal(quota_min=None),
            rest_within_s=300,
        )
    ),
)
