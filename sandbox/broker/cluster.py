"""A private RabbitMQ cluster on one host: nodes that share a port mapper and a cookie."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from typing_extensions import override

from sandbox.broker.erlang import Epmd, Host
from sandbox.broker.node import NodeError, PrivateNode
from sandbox.ports import free_port
from sandbox.processes import wait_until
from sandbox.startable import Startable


class Cluster(Startable):
    """Nodes that form a cluster at their first start; each can then be killed and started alone.

    A quorum queue that is declared while all nodes run has a replica on each, up to RabbitMQ's default of three.

    Args:
        directory: Parent of the nodes' directories.
        size: Number of nodes.
        settings: More lines of every node's rabbitmq.conf, by key.
        hosts: Host of each node, in place of `size`; by default all nodes are on loopback.
        erl_args: More arguments of every node's Erlang VM.

    Raises:
        NodeError: RabbitMQ is not installed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        size: int = 3,
        settings: Mapping[str, str] | None = None,
        hosts: Sequence[Host] | None = None,
        erl_args: str = "",
    ) -> None:
        hosts = hosts or [Host()] * size
        port = free_port()
        self._epmds = {host: Epmd(port=port, host=host) for host in hosts}
        mark, cookie = secrets.token_hex(4), secrets.token_hex(20)
        names = [f"eventflow-{mark}-{number}@{host.name}" for number, host in enumerate(hosts, 1)]
        peers = {f"cluster_formation.classic_config.nodes.{number}": name for number, name in enumerate(names, 1)}
        common = {"cluster_formation.peer_discovery_backend": "classic_config", **peers, **(settings or {})}
        self.nodes = tuple(
            PrivateNode(
                directory / f"node-{number}",
                nodename=name,
                epmd=self._epmds[host],
                cookie=cookie,
                settings=common,
                host=host,
                erl_args=erl_args,
            )
            for number, (name, host) in enumerate(zip(names, hosts, strict=True), 1)
        )

    @property
    def url(self) -> str:
        """AMQP URLs of all nodes, comma-separated, in the form of `EVENTFLOW_BROKER__URL`."""
        return ",".join(node.url for node in self.nodes)

    @property
    def living(self) -> tuple[PrivateNode, ...]:
        """Nodes that run."""
        return tuple(node for node in self.nodes if node.alive)

    @override
    def start(self, timeout_s: float = 60.0) -> None:
        """Start all nodes and wait until they form one cluster.

        Raises:
            NodeError: A node did not start, or the nodes did not find each other.
        """
        try:
            for epmd in self._epmds.values():
                epmd.start()
            first, *others = self.nodes
            first.start(timeout_s)  # first and alone: the others join it
            with ThreadPoolExecutor(len(self.nodes)) as threads:
                list(threads.map(lambda node: node.start(timeout_s), others))
            wait_until(
                lambda: self._running(first) == len(self.nodes), timeout_s=timeout_s, what="the nodes to form a cluster"
            )
        except TimeoutError as error:
            self.stop()
            raise NodeError(str(error)) from error
        except BaseException:
            self.stop()
            raise

    @override
    def stop(self) -> None:
        """Kill all nodes: the data of a private cluster are not used again."""
        for node in self.nodes:
            node.kill()
        for epmd in self._epmds.values():
            epmd.stop()

    def node_named(self, nodename: str) -> PrivateNode:
        """Return the node of this Erlang name."""
        return next(node for node in self.nodes if node.nodename == nodename)

    def leader_of(self, queue: str) -> PrivateNode | None:
        """Return the running node that leads a quorum queue; None while no node does."""
        for node in self.living:
            found = node.management_get(f"queues/%2F/{quote(queue, safe='')}")
            if isinstance(found, dict) and found.get("leader"):
                leader = self.node_named(str(found["leader"]))
                return leader if leader.alive else None
        return None

    @contextlib.contextmanager
    def isolated(self, node: PrivateNode) -> Iterator[None]:
        """Cut one node off from its peers while the context is open; its clients still reach it.

        Erlang nodes with different cookies refuse each other, so the cut needs no privileges on the network.
        """
        peers = [peer.nodename for peer in self.nodes if peer is not node]
        listed = ",".join(f"'{peer}'" for peer in peers)
        node.ctl("eval", f"[begin erlang:set_cookie(P, cut), erlang:disconnect_node(P) end || P <- [{listed}]].")
        try:
            yield
        finally:
            node.ctl("eval", f"[erlang:set_cookie(P, erlang:get_cookie()) || P <- [{listed}]].")

    def _running(self, node: PrivateNode) -> int:
        members = node.management_get("nodes")
        return sum(bool(member.get("running")) for member in members) if isinstance(members, list) else 0
