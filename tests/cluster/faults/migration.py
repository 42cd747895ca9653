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
ABOVE_MAX = QUOTA_PER_S
"""One second of the quota: a busy machine delays requests, which then arrive close together. Two clusters that spend at
once would send this much in each second."""


async def move_to_a_new_cluster(world: World[ComposeCluster]) -> None:
    old = world.cluster
    new = await asyncio.to_thread(_second_cluster, old)
    old.successors.append(new.project)
    show("starting the new brokers")
    await _start_brokers(new)
    await new.sh("docker compose run --rm -T eventflow pause default")
    await new.sh(f"docker compose up --detach --wait {' '.join(PROCESSORS)}")
    for processor in PROCESSORS:
        await new.is_ready(processor)
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


async def _start_brokers(new: ComposeCluster) -> None:
    """Start the new nodes, which yield the processors of this machine to the old cluster until they run.

    Otherwise three nodes that start at once would slow the old cluster down. Usually they have machines of their own.
    """
    nodes = " ".join(NODES)
    await new.sh(f"docker compose create {nodes} && docker update --cpu-shares 32 $(docker compose ps -aq {nodes})")
    await new.sh(f"docker compose up --detach --no-recreate --wait {nodes}", within_s=300)
    await new.sh(f"docker update --cpu-shares 1024 $(docker compose ps -aq {nodes})")


def _second_cluster(old: ComposeCluster) -> ComposeCluster:
    """Prepare another cluster with the same target, users, passwords and authority."""
    directory = old.project.directory.parent.with_name("new")
    new = prepared(directory, image=old.image, rabbitmq=NEW_RABBITMQ, quota_per_s=QUOTA_PER_S)
    shutil.rmtree(new.project.directory / "secrets")
    shutil.copytree(old.project.directory / "secrets", new.project.directory / "secrets")
    shutil.copy(old.project.directory / ".env", new.project.directory)
    return new


async def _is_empty(cluster: ComposeCluster) -> bool:
    """Return whether no event waits, is delayed, or is held by a processor."""
    # Its exit status is 1 while something needs attention, such as a service that has not answered.
    shown = await asyncio.to_thread(cluster.project.attempt, "docker compose run --rm -T eventflow status --json")
    flow = json.loads(shown.stdout)["flows"][FLOW]
    return flow["waiting"] == 0 and all(not queue["events"] for queue in flow["retries"])


SCENARIOS = (
    Scenario(
        name="brokers changed from RabbitMQ 4.0 to a new cluster with 4.3",
        fault=move_to_a_new_cluster,
        goal=Goal(quota_min=0.9, above_max=ABOVE_MAX),
        rest_within_s=400,
    ),
)
