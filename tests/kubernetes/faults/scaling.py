"""Collectors that follow the load by themselves."""

import asyncio
import time

from tests.availability.result import Goal
from tests.availability.scenario import Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.installation import COLLECTOR_PODS, COLLECTORS, Installation, configuration
from tests.support.wait import eventually

LOW_PER_S, HIGH_PER_S = 50.0, 2000.0
RISE_S, HIGH_S = 90.0, 45.0
DELIVERED_PER_S = 800.0
"""Quota of the flow: the machine that runs the cluster, the load and the target shall not be busy with deliveries."""

STEP_S = 2.0
LEAST, MOST = 2, 8
CPU = "250m"
BACK_WITHIN_S = 300.0


async def install_autoscaler(cluster: Installation) -> None:
    await cluster.install(
        collector={
            "autoscaling": {
                "enabled": True,
                "minReplicas": LEAST,
                "maxReplicas": MOST,
                "scaleDownAfterSeconds": 30,
                "scaleDownEverySeconds": 15,
            },
            "resources": {"requests": {"cpu": CPU}, "limits": {"cpu": CPU}},
        },
        config=configuration(cluster.target_url, rate_per_s=DELIVERED_PER_S),
    )


async def load_rises_and_falls(world: KubernetesWorld) -> None:
    load, highest = world.load, LEAST
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < RISE_S + HIGH_S:
        load.rate_per_s = min(HIGH_PER_S, LOW_PER_S + (HIGH_PER_S - LOW_PER_S) * passed_s / RISE_S)
        highest = max(highest, len(await world.cluster.pods(COLLECTOR_PODS)))
        await asyncio.sleep(STEP_S)
    load.rate_per_s = LOW_PER_S
    await eventually(lambda: _has_least(world), within_s=BACK_WITHIN_S, what=f"{LEAST} collectors again")
    await world.cluster.kubectl.rolled_out(COLLECTORS)
    world.remarks.append(f"collectors {LEAST} -> {highest} -> {LEAST}")


async def _has_least(world: KubernetesWorld) -> bool:
    return len(await world.cluster.pods(COLLECTOR_PODS)) == LEAST


CASES = (
    Case(
        scenario=Scenario(
            name=f"load {LOW_PER_S:g} -> {HIGH_PER_S:g} -> {LOW_PER_S:g} events/s, collectors limited to {CPU} of CPU",
            fault=load_rises_and_falls,
            goal=Goal(wait_max_s=None, quota_min=None),
            events_per_s=LOW_PER_S,
            quota_per_s=None,
            fresh_share=0.1,
        ),
        prepare=install_autoscaler,
        missing=lambda surroundings: "" if surroundings.has_metrics else "the resource metrics (metrics-server)",
    ),
)
