"""Nodes go away: in order, by a drain, and without a warning."""

from collections import Counter

from tests.availability.result import Goal
from tests.availability.scenario import Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.installation import BROKER_PODS, COLLECTOR_PODS, PROCESSOR_PODS
from tests.kubernetes.network import cut, isolation
from tests.kubernetes.surroundings import Node, Surroundings

AWAY_S = 90.0
"""Longer than the time after which Kubernetes takes a silent node for lost (50 s)."""

OWN_PODS = "app.kubernetes.io/name in (event-flow, rabbitmq)"
SEEN_WITHIN_S = 30.0
"""A broker takes a silent processor for lost after two heartbeats of 10 s; then its share of the quota moves."""


async def node_drained(world: KubernetesWorld) -> None:
    kubectl, node = world.cluster.kubectl, await busiest_node(world)
    try:
        await kubectl(
            "drain", node.name, "--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={OWN_PODS}",
            "--timeout=300s", within_s=310,
        )  # fmt: skip
        await world.pause(20)
    finally:
        await kubectl("uncordon", node.name)
    await world.cluster.ready()


async def node_killed(world: KubernetesWorld) -> None:
    node = await busiest_node(world)
    async with cut(world.cluster.surroundings, node, isolation()):
        world.quota_counts_after(SEEN_WITHIN_S)
        await world.pause(AWAY_S)
    await world.cluster.ready()


async def busiest_node(world: KubernetesWorld) -> Node:
    """Return the node with the most kinds of our services, among those without the cluster's only DNS server."""
    cluster = world.cluster
    kinds = Counter[str]()
    for selector in (COLLECTOR_PODS, PROCESSOR_PODS, BROKER_PODS):
        kinds.update({*(await cluster.pods(selector)).values()})
    servers = await cluster.kubectl.items("pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns")
    if len(servers) == 1:
        del kinds[servers[0]["spec"]["nodeName"]]
    return cluster.surroundings.node(max(kinds, key=lambda name: kinds[name]))


def no_way_to_nodes(surroundings: Surroundings) -> str:
    """Return what is missing for a fault in the network of a node."""
    return "" if surroundings.node_shell else "NODE_SHELL, which leads to the network of a node"


CASES = (
    Case(scenario=Scenario(name="node drained", fault=node_drained)),
    Case(
        scenario=Scenario(
            name="node killed", fault=node_killed, goal=Goal(refused_max=20, wait_max_s=5.0), rest_within_s=240
        ),
        missing=no_way_to_nodes,
    ),
)
