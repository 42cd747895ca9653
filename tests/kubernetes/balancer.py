"""The balancer in front of the cluster, as a provider runs it: outside, with a check of the health of each node."""

import asyncio
import tempfile
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from sandbox.ports import LOOPBACK, free_port
from tests.kubernetes.commands import run
from tests.kubernetes.surroundings import Node
from tests.support.wait import eventually

CONFIGURATION = """
global
    log stdout format raw local0 warning
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 30s
    timeout http-request 10s
    retries 3
    # A connection that fails is tried at another node. A request is never sent twice.
    option redispatch 1
    retry-on conn-failure
    option httpchk GET /healthz
    timeout check 500ms
    default-server check inter 500ms fall 2 rise 2
frontend events
    bind {address}:{port}
    default_backend opens
frontend events-on-kept-connections
    bind {address}:{keeping_port}
    default_backend keeps
backend opens
    option http-server-close
{servers}
backend keeps
{servers}
"""


class Balancer:
    """HAProxy in a container with the network of this machine. Use it as an async context manager.

    Kubernetes answers the check of a node with 200 if a ready collector runs there, and sends what arrives at the node
    only to its own collectors (`externalTrafficPolicy: Local`).
    """

    def __init__(self, image: str, nodes: Sequence[Node], *, node_port: int, check_port: int) -> None:
        self._image = image
        self._nodes = nodes
        self._node_port, self._check_port = node_port, check_port
        self._port, self._keeping_port = free_port(), free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="eventflow-balancer-")
        self._container = ""

    def url(self, *, keeps_connections: bool = False) -> str:
        """Return the URL that events are posted to.

        Args:
            keeps_connections: Whether it keeps its connections to the nodes for later requests. A request on a kept one
                can be lost with its node.
        """
        return f"http://{LOOPBACK}:{self._keeping_port if keeps_connections else self._port}/events"

    async def __aenter__(self) -> Self:
        servers = "\n".join(
            f"    server {node.name} {node.address}:{self._node_port} port {self._check_port}" for node in self._nodes
        )
        path = Path(self._directory.name) / "haproxy.cfg"
        path.write_text(
            CONFIGURATION.format(address=LOOPBACK, port=self._port, keeping_port=self._keeping_port, servers=servers)
        )
        path.chmod(0o644)
        path.parent.chmod(0o755)
        mount = f"{path.parent}:/usr/local/etc/haproxy:ro"
        started = await run("docker", "run", "--rm", "--detach", "--network=host", f"--volume={mount}", self._image)
        self._container = started.strip()
        await eventually(self._has_collectors, within_s=60, what="a collector behind the balancer")
        return self

    async def _has_collectors(self) -> bool:
        """Return whether a GET reaches a collector, which refuses it: 405. Without one, the balancer answers 503."""
        try:
            async with aiohttp.ClientSession() as http, http.get(self.url()) as answer:
                return answer.status == HTTPStatus.METHOD_NOT_ALLOWED
        except aiohttp.ClientError:
            return False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container:
            await asyncio.shield(run("docker", "rm", "--force", self._container))
        self._directory.cleanup()
