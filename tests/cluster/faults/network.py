"""A zone that loses its network to the others, in both directions or in one.

Each of the first two zones has a node of RabbitMQ, a collector and a processor, which both prefer this node. HAProxy
and the target can reach all zones meanwhile.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from tests.availability.result import Goal
from tests.availability.scenario import QUOTA_PER_S, Scenario, World
from tests.availability.terminal import show
from tests.cluster.stack import NODES, PROCESSORS, ComposeCluster

ZONE = ("rabbitmq-1", "collector-1", "processor-1")
OTHERS = ("rabbitmq-2", "collector-2", "processor-2", "rabbitmq-3", "console")
CUT_S = 60.0

LEASE_S = 3.0
SLACK = 5
"""Requests above the quota of an undisturbed flow with two processors: their bursts, and 2 % of a second."""

Directions = Literal["both ways", "one way"]


async def zone_cut_off(world: World[ComposeCluster], *, directions: Directions) -> None:
    cluster = world.cluster
    addresses = [await cluster.ip(service) for service in OTHERS]
    for service in ZONE:
        await _iptables(cluster, service, [f"-A OUTPUT -d {address} -j DROP" for address in addresses])
        if directions == "both ways":
            await _iptables(cluster, service, [f"-A INPUT -s {address} -j DROP" for address in addresses])
    show(f"{', '.join(ZONE)} cut off {directions}")
    await world.pause(CUT_S)
    for service in ZONE:
        await _iptables(cluster, service, ["-F OUTPUT", "-F INPUT"])
    show("connected again")
    await cluster.sh(f"docker compose up --detach --no-recreate --wait {' '.join(NODES)}", within_s=300)
    for processor in PROCESSORS:
        await cluster.is_ready(processor)
    await world.delivers(100)


async def _iptables(cluster: ComposeCluster, service: str, rules: Sequence[str]) -> None:
    """Change the rules of a container's network. The containers have no right to do it themselves."""
    pid = (await cluster.inspect(service))["State"]["Pid"]
    await cluster.sh("\n".join(f"nsenter --target {pid} --net iptables --wait {rule}" for rule in rules))


SCENARIOS = tuple(
    Scenario(
        name=f"network of a zone cut for 60 s, {directions}",
        fault=partial(zone_cut_off, directions=directions),
        goal=Goal(wait_max_s=None, quota_min=None, above_max=LEASE_S * QUOTA_PER_S / len(PROCESSORS) + SLACK),
        rest_within_s=400,
    )
    for directions in ("both ways", "one way")
)
