"""Private hosts on one machine: network namespaces, each with a link to its clients and a link to its peers.

They need Linux, the program `ip` and root privileges. The link to the peers can be cut without a reset, as when a
switch fails, while clients still reach the host.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from sandbox.broker.erlang import Host

_PEERS_PREFIX = "198.18"
_CLIENTS_PREFIX = "198.19"
"""Both are in the range that RFC 2544 reserves for tests on isolated networks."""


class NetworksNotAvailableError(Exception):
    """Network namespaces cannot be used on this machine; the text gives the reason."""


class Networks:
    """Hosts that reach each other over a private bridge while the context is open.

    Args:
        size: Number of hosts.
    """

    def __init__(self, size: int) -> None:
        self._mark = secrets.token_hex(3)
        self._switch = f"ef{self._mark}-switch"
        third = _free_third()
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
        """Drop all packets between a host and its peers while the context is open."""
        port = f"port{self.hosts.index(host) + 1}"
        _ip("-n", self._switch, "link", "set", port, "nomaster")
        try:
            yield
        finally:
            _ip("-n", self._switch, "link", "set", port, "master", "switch")

    @contextlib.contextmanager
    def lost(self, host: Host) -> Iterator[None]:
        """Drop all packets between a host and its peers, and its answers to clients, while the context is open."""
        # Nothing is refused, as when a machine loses its power: packets of clients arrive, and answers have no route.
        space = self._namespace(self.hosts.index(host) + 1)
        head, _, last = host.address.rpartition(".")
        clients = f"{head}.{int(last) - 1}/32"
        with self.cut_off(host):
            _ip("-n", space, "route", "add", "blackhole", clients)
            try:
                yield
            finally:
                _ip("-n", space, "route", "delete", "blackhole", clients)

    def _make(self) -> None:
        # The bridge has its own namespace, because Docker's firewall rules drop packets on bridges of the machine.
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        for number, host in enumerate(self.hosts, 1):
            space, port, ours = self._namespace(number), f"port{number}", self._link(number)
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
        numbers = range(1, len(self.hosts) + 1)
        # Links first: a namespace, and the links in it, stays for as long as a socket of an ended process lives.
        links = [("link", "delete", self._link(number)) for number in numbers]
        spaces = [("netns", "delete", space) for space in (*map(self._namespace, numbers), self._switch)]
        for deletion in (*links, *spaces):
            with contextlib.suppress(NetworksNotAvailableError):
                _ip(*deletion)

    def _namespace(self, number: int) -> str:
        return f"ef{self._mark}-{number}"

    def _link(self, number: int) -> str:
        return f"ef{self._mark}{number}"


def _free_third() -> int:
    """Choose the third byte of the addresses: no link of this machine has it, as one of a killed run would."""
    return next(third for third in iter(lambda: secrets.randbelow(254) + 1, None) if not _is_ours(third))


def _is_ours(third: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((f"{_CLIENTS_PREFIX}.{third}.5", 0))
        except OSError:
            return False
    return True


def _ip(*arguments: str) -> None:
    program = shutil.which("ip")
    if program is None or os.geteuid() != 0:
        raise NetworksNotAvailableError("network namespaces need the program `ip` and root privileges")
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NetworksNotAvailableError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
