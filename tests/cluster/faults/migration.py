"""From one cluster of RabbitMQ to a new one, as docs/availability.md describes: collectors move, the old cluster is
emptied, then the new one is let go.
"""

import asyncio
import json
import shutil

from tests.availability.result import Goal
from tests.availability.scenario import QUOTA_PER_S, Scenario, World
from tests.availability.terminal import show
from tests.cluster.stack import COLLECTORS, FLOW, NODES, PROCESSORS, ComposeCluster, prepared
from tests.support.wait import eventually

OLD_RABBITMQ = "rabbitmq:4.0-management"
NEW_RABBITMQ = "rabbitmq:4.3-management"
PAUSE_S = 10.0
LOOK_EVERY_S = 2.0
"""Time between two looks at the old cluster. Each starts a container, which takes time from the clusters under test."""

ABOVE_MAX = QUOTA_PER_S
"""One second of the quota: a busy machine delays requests, which then arrive close together. Two clusters that spend at
once would send this much in each second."""


async def start_a_new_cluster(old: ComposeCluster) -> None:
    """Start its brokers and processors, which send nothing yet.

    Not under load: usually they have machines of their own, and three nodes that start at once slow the old ones down.
    """
    new = await asyncio.to_thread(_second_cluster, old)
    old.successors.append(new)
    await new.sh(f"docker compose up --detach --wait {' '.join(NODES)}", within_s=300)
    await new.sh("docker compose run --rm -T eventflow pause default")
    await new.sh(f"docker compose up --detach --wait {' '.join(PROCESSORS)}")
    for processor in PROCESSORS:
        await new.is_ready(processor)


async def move_to_a_new_cluster(world: World[ComposeCluster]) -> None:
    old = world.cluster
    [new] = old.successors
    network = next(iter((await new.inspect(NODES[0]))["NetworkSettings"]["Networks"]))
    await old.sh(f"docker network connect {network} $(docker compose ps --quiet haproxy)")
    for collector in COLLECTORS:
        show(f"moving {collector}")
        await new.sh(f"docker compose up --detach --wait {collector}")
        await new.is_ready(collector)
        await world.pause(PAUSE_S)
        await old.sh(f"docker compose stop {collector}")
        await world.pause(PAUSE_S)
    show("emptying the old cluster")
    await eventually(lambda: _is_empty(old), within_s=300, what="the old cluster to be empty")
    await old.sh(f"docker compose stop {' '.join(PROCESSORS)}")
    await new.sh("docker compose run --rm -T eventflow resume default")
    show("the new cluster delivers")
    await world.delivers(100)
    await world.pause(30)


def _second_cluster(old: ComposeCluster) -> ComposeCluster:
    """Prepare another cluster with the same target, users, passwords and authority."""
    directory = old.project.directory.parent.with_name("new")
    new = prepared(directory, image=old.image, rabbitmq=NEW_RABBITMQ, quota_per_s=QUOTA_PER_S)
    shutil.rmtree(new.project.directory / "secrets")
    shutil.copytree(old.project.directory / "secrets", new.project.directory / "secrets")
    shutil.copy(old.project.directory / ".env", new.project.directory)
    return new


async def _is_empty(cluster: ComposeCluster) -> bool:
    """Return whether no event waits, is delayed, or is held by a processor; if one is, after a pause."""
    # Its exit status is 1 while something needs attention, such as a service that has not answered.
    shown = await asyncio.to_thread(cluster.project.attempt, "docker compose run --rm -T eventflow status --json")
    flow = json.loads(shown.stdout)["flows"][FLOW]
    if flow["waiting"] == 0 and all(not queue["events"] for queue in flow["retries"]):
        return True
    await asyncio.sleep(LOOK_EVERY_S)
    return False


SCENARIOS = (
    Scenario(
        name="brokers changed from RabbitMQ 4.0 to a new cluster with 4.3",
        prepare=start_a_new_cluster,
        fault=move_to_a_new_cluster,
        goal=Goal(quota_min=0.9, above_max=ABOVE_MAX),
        rest_within_s=400,
    ),
)
