"""Cuts between the zones of the nodes, while the balancer still reaches all of them."""

from typing import Any

from tests.availability.result import Goal
from tests.availability.scenario import QUOTA_PER_S, Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.faults.nodes import busiest_node, no_way_to_nodes
from tests.kubernetes.network import Rule, cut, deafness, muteness
from tests.kubernetes.surroundings import Node

CUT_S = 45.0
LEASE_S = 3.0
PROCESSORS = 2
SPLIT = Goal(wait_max_s=None, quota_min=None, above_max=LEASE_S * QUOTA_PER_S / PROCESSORS)
"""A processor beside a broker without a majority goes on for at most the time of its lease."""


async def zone_cut_off(world: KubernetesWorld) -> None:
    zone, others = await _zones(world)
    await _cut(world, zone, [*deafness(others), *muteness(others)])


async def zone_deaf(world: KubernetesWorld) -> None:
    zone, others = await _zones(world)
    await _cut(world, zone, list(deafness(others)))


async def _cut(world: KubernetesWorld, zone: Node, rules: list[Rule]) -> None:
    async with cut(world.cluster.surroundings, zone, rules):
        await world.pause(CUT_S)
    await world.cluster.ready()
    await world.cluster.spools_empty(within_s=120)


async def _zones(world: KubernetesWorld) -> tuple[Node, list[str]]:
    """Return the node that is cut off, and the addresses of all other nodes and of their pods."""
    zone = await busiest_node(world)
    nodes = [node.address for node in world.cluster.surroundings.nodes if node is not zone]
    pods = await world.cluster.kubectl.items("pods", "--all-namespaces")
    # Pods with the network of their node have its address.
    return zone, [*nodes, *{pod["status"]["podIP"] for pod in pods if _is_at_another(pod, zone)} - {*nodes}]


def _is_at_another(pod: dict[str, Any], zone: Node) -> bool:
    return pod["spec"].get("nodeName") != zone.name and "podIP" in pod["status"]


CASES = (
    Case(
        scenario=Scenario(name="zone cut off from the others, both ways", fault=zone_cut_off, goal=SPLIT),
        missing=no_way_to_nodes,
    ),
    Case(
        scenario=Scenario(name="zone cut off from the others, one way", fault=zone_deaf, goal=SPLIT),
        missing=no_way_to_nodes,
    ),
)
