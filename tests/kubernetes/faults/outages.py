"""All brokers away: the collectors keep the events in their spools."""

import asyncio

from tests.availability.result import Goal
from tests.availability.scenario import EVENTS_PER_S, Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.installation import BROKER_NODES, BROKER_PODS, BROKERS, COLLECTOR_PODS

AWAY_S = 60.0
SPOOLED_MIN = EVENTS_PER_S * AWAY_S / 2
"""Without brokers, nearly all events of this time are in the spools. With fewer than half, a broker was there."""

KILL = "kill -9 $(cat /var/lib/rabbitmq/mnesia/*.pid)"


async def brokers_away(world: KubernetesWorld) -> None:
    """The brokers are killed; meanwhile a collector pod is deleted, with events in its spool."""
    kubectl = world.cluster.kubectl
    brokers = await world.cluster.pods(BROKER_PODS)
    await kubectl("scale", BROKERS, "--replicas=0")
    # Not `delete --force`: the pod would be gone at once, but its broker would go on and wait in its preStop hook.
    await asyncio.gather(*(kubectl("exec", pod, "--", "sh", "-c", KILL) for pod in brokers))
    await kubectl("wait", "--for=delete", "pods", f"--selector={BROKER_PODS}", "--timeout=60s", within_s=70)
    await world.pause(AWAY_S / 4)
    pod = min(await world.cluster.pods(COLLECTOR_PODS))
    deleting = asyncio.create_task(kubectl("delete", "pod", pod, within_s=180))
    await world.pause(AWAY_S * 3 / 4)
    spooled = await world.cluster.spooled()
    world.remarks.append(f"{spooled:.0f} events in the spools after {AWAY_S:g} s")
    if spooled < SPOOLED_MIN:
        world.problems.append(f"a broker was there: {spooled:.0f} events in the spools, {SPOOLED_MIN:g} required")
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
