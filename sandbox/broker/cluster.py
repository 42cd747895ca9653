"""A private RabbitMQ cluster on one host: nodes that share a port mapper and a cookie."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from sandbox.broker import probes
from sandbox.broker.node import Epmd, Host, NodeError, PrivateNode
from sandbox.ports import free_port
from sandbox.processes import wait_until


class Cluster:
    """Nodes that form a cluster at their first start; each can be killed and started again on its own.

    Quorum queues that are declared while all of them run have a replica on each, up to RabbitMQ's default of three.

    Args:
        directory: Each node keeps its data in a directory of its own below it.
        size: How many nodes.
        settings: More lines of every node's rabbitmq.conf, by key.
        hosts: Where each node runs, in place of `size`; by default all on loopback.
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

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URLs of all nodes, comma-separated, as the services take them."""
        return ",".join(node.url for node in self.nodes)

    @property
    def living(self) -> tuple[PrivateNode, ...]:
        """The nodes whose process runs."""
        return tuple(node for node in self.nodes if node.alive)

    def start(self, timeout_s: float = 60.0) -> None:
        """Start all nodes and wait until each knows all others.

        Raises:
            NodeError: One did not come up, or they did not find each other.
        """
        for epmd in self._epmds.values():
            epmd.start()
        try:
            first, *others = self.nodes
            first.start(timeout_s)  # alone, so that the others have one to join
            with ThreadPoolExecutor(len(self.nodes)) as threads:
                list(threads.map(lambda node: node.start(timeout_s), others))
            wait_until(lambda: self._running(first) == len(self.nodes), timeout_s=timeout_s, what="the nodes to meet")
        except TimeoutError as error:
            self.stop()
            raise NodeError(str(error)) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all nodes at once: nothing of a private cluster is used again."""
        for node in self.nodes:
            node.kill()
        for epmd in self._epmds.values():
            epmd.stop()

    def node_named(self, nodename: str) -> PrivateNode:
        """Return the node of this Erlang name."""
        return next(node for node in self.nodes if node.nodename == nodename)

    def leader_of(self, queue: str) -> PrivateNode | None:
        """Return the living node that leads a quorum queue; None while none does."""
        for node in self.living:
            seen = probes.management_get(
                node.management_url, f"queues/%2F/{quote(queue, safe='')}", login=node.login, password=node.password
            )
            if isinstance(seen, dict) and seen.get("leader"):
                leader = self.node_named(str(seen["leader"]))
                return leader if leader.alive else None
        return None

    @contextlib.contextmanager
    def isolated(self, node: PrivateNode) -> Iterator[None]:
        """Cut one node off from its peers while the context is open; its clients still reach it.

        Erlang nodes that disagree on their cookie refuse each other, so the cut needs no rights on the network.
        """
        peers = [peer.nodename for peer in self.nodes if peer is not node]
        listed = ",".join(f"'{peer}'" for peer in peers)
        node.ctl("eval", f"[begin erlang:set_cookie(P, cut), erlang:disconnect_node(P) end || P <- [{listed}]].")
        try:
            yield
        finally:
            node.ctl("eval", f"[erlang:set_cookie(P, erlang:get_cookie()) || P <- [{listed}]].")

    def _running(self, node: PrivateNode) -> int:
        seen = probes.management_get(node.management_url, "nodes", login=node.login, password=node.password)
        return sum(bool(peer.get("running")) for peer in seen) if isinstance(seen, list) else 0
