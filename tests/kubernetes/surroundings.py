"""Surroundings of the tests: the nodes, the images, the programs, and the way into the networks of the nodes."""

import json
import os
import shlex
import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import Any, Self

from eventflow.errors import EventFlowError
from tests.kubernetes.commands import Kubectl, run

PROGRAMS = ("kubectl", "helm", "docker")


class MissingError(EventFlowError):
    """Something that the tests need is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of the cluster."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """A cluster and this machine.

    Attributes:
        version: Version of Kubernetes.
        own_address: Address of this machine that the pods can reach.
        image: Image of Event Flow under test.
        previous_images: Images of older versions, for upgrades.
        balancer_image: Image of HAProxy in the local Docker engine.
        rabbitmq_image: Image of RabbitMQ.
        rabbitmq_user: Number of the user `rabbitmq` in this image.
        rabbitmq_command: Command of the server, for an image whose own command does not pass SIGTERM on to it; empty:
            that of the image.
        prometheus_image: Image of Prometheus.
        peak_per_s: Highest load for collectors that follow it.
        has_metrics: Whether the cluster measures the CPU time of pods, as autoscalers need it.
        has_keda: Whether KEDA is installed.
        node_shell: Command that runs a command in the network of a node; `{node}` stands for its name. Empty: none.
    """

    version: str
    nodes: tuple[Node, ...]
    own_address: str
    image: str
    previous_images: tuple[str, ...]
    balancer_image: str
    rabbitmq_image: str
    rabbitmq_user: int
    rabbitmq_command: str
    prometheus_image: str
    peak_per_s: float
    has_metrics: bool
    has_keda: bool
    node_shell: str

    @classmethod
    async def find(cls) -> Self:
        """Look at the cluster of `KUBECONFIG` and at the environment.

        Raises:
            MissingError: A program or the cluster is missing.
            CommandError: The cluster does not answer.
        """
        for program in PROGRAMS:
            if shutil.which(program) is None:
                raise MissingError(f"{program} is not on PATH")
        if "KUBECONFIG" not in os.environ:
            raise MissingError("KUBECONFIG is not set: it names the cluster that the tests use")
        kubectl = Kubectl("default")
        groups = {version.partition("/")[0] for version in (await kubectl("api-versions")).split()}
        version = json.loads(await kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]
        nodes = tuple(_node(found) for found in await kubectl.items("nodes") if _is_ready(found))
        return cls(
            version=".".join(version.lstrip("v").split(".")[:2]),
            nodes=nodes,
            own_address=os.environ.get("OWN_ADDRESS") or _address_towards(nodes[0].address),
            image=os.environ.get("IMAGE", "event-flow:latest"),
            previous_images=tuple(os.environ.get("PREVIOUS_IMAGES", "event-flow:0.1.0 event-flow:0.3.0").split()),
            balancer_image=os.environ.get("BALANCER_IMAGE", "haproxy:3.0"),
            rabbitmq_image=os.environ.get("RABBITMQ_IMAGE", "rabbitmq:4-management"),
            rabbitmq_user=int(os.environ.get("RABBITMQ_USER", "999")),
            rabbitmq_command=os.environ.get("RABBITMQ_COMMAND", ""),
            prometheus_image=os.environ.get("PROMETHEUS_IMAGE", "prom/prometheus:latest"),
            peak_per_s=float(os.environ.get("PEAK_PER_S", "2000")),
            has_metrics="metrics.k8s.io" in groups,
            has_keda="keda.sh" in groups,
            node_shell=os.environ.get("NODE_SHELL", ""),
        )

    @property
    def name(self) -> str:
        """Kind and size of the cluster, for the table."""
        return f"Kubernetes {self.version}, {len(self.nodes)} nodes"

    def node(self, name: str) -> Node:
        """Return a node by its name."""
        return next(node for node in self.nodes if node.name == name)

    async def on_node(self, node: Node, *command: str) -> str:
        """Run a command in the network of a node."""
        return await run(*self._at(node), *command)

    def on_node_now(self, node: Node, *command: str) -> None:
        """Run a command in the network of a node, without a wait for anything else: for the end of the tests."""
        subprocess.run([*self._at(node), *command], check=False, capture_output=True, timeout=30)

    def _at(self, node: Node) -> list[str]:
        return [part.format(node=node.name) for part in shlex.split(self.node_shell)]


def _node(found: dict[str, Any]) -> Node:
    addresses = {address["type"]: address["address"] for address in found["status"]["addresses"]}
    return Node(name=found["metadata"]["name"], address=addresses["InternalIP"])


def _is_ready(found: dict[str, Any]) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    return conditions.get("Ready") == "True"


def _address_towards(address: str) -> str:
    """Return the address of this machine on the way to another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # sends nothing
        own: str = probe.getsockname()[0]
        return own
