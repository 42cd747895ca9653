"""Hosts of our own on one machine: network namespaces, each with a link to us and a link to its peers.

Needs Linux, `ip` and the rights of root. The link to the peers can be cut in silence, as a switch that fails does it,
while whoever uses the host still reaches it.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from sandbox.broker.node import Host

_PEERS_PREFIX = "198.18"
_CLIENTS_PREFIX = "198.19"
"""Both belong to the range that RFC 2544 sets aside for tests on isolated networks."""


class NetworksNotAvailableError(Exception):
    """This machine gives us no network namespaces; the text says why."""


class Networks:
    """Hosts that reach each other over a bridge of their own while the context is open.

    Args:
        size: How many hosts.
    """

    def __init__(self, size: int) -> None:
        self._mark = secrets.token_hex(3)
        self._switch = f"ef{self._mark}-switch"
        third = secrets.randbelow(254) + 1
        self.hosts = tuple(
            Host(
                address=f"{_CLIENTS_PREFIX}.{third}.{4 * number + 2}",
                peers_address=(peers := f"{_PEERS_PREFIX}.{third}.{number}"),
                name=peers,
                enter=("ip", "netns", "exec", self._namespace(number)),
            )
            for number in range(1, size + 1)
        )

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @contextlib.contextmanager
    def cut_off(self, host: Host) -> Iterator[None]:
        """Lose in silence all that goes between a host and its peers while the context is open."""
        port = f"port{self.hosts.index(host) + 1}"
        _ip("-n", self._switch, "link", "set", port, "nomaster")
        try:
            yield
        finally:
            _ip("-n", self._switch, "link", "set", port, "master", "switch")

    def _make(self) -> None:
        # The bridge has a namespace of its own, where no rule of ours applies: Docker has packets on bridges dropped.
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        for number, host in enumerate(self.hosts, 1):
            space, port, ours = self._namespace(number), f"port{number}", f"ef{self._mark}{number}"
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "add", "peers", "type", "veth", "peer", "name", port, "netns", self._switch)
            _ip("-n", self._switch, "link", "set", port, "up", "master", "switch")
            _ip("-n", space, "address", "add", f"{host.peers_address}/24", "dev", "peers")
            _ip("-n", space, "link", "set", "peers", "up")
            _ip("link", "add", ours, "type", "veth", "peer", "name", "clients", "netns", space)
            _ip("-n", space, "address", "add", f"{host.address}/30", "dev", "clients")
            _ip("-n", space, "link", "set", "clients", "up")
            head, _, last = host.address.rpartition(".")
            _ip("address", "add", f"{head}.{int(last) - 1}/30", "dev", ours)
            _ip("link", "set", ours, "up")

    def _remove(self) -> None:
        for space in (*(self._namespace(number) for number in range(1, len(self.hosts) + 1)), self._switch):
            with contextlib.suppress(NetworksNotAvailableError):
                _ip("netns", "delete", space)  # and with it its links

    def _namespace(self, number: int) -> str:
        return f"ef{self._mark}-{number}"


def _ip(*arguments: str) -> None:
    program = shutil.which("ip")
    if program is None or os.geteuid() != 0:
        raise NetworksNotAvailableError("network namespaces need the program `ip` and the rights of root")
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NetworksNotAvailableError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
