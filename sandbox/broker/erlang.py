"""The Erlang below a RabbitMQ node: programs, addresses and the port mapper epmd."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from sandbox.ports import LOOPBACK, accepts, free_port
from sandbox.processes import ChildProcess, wait_until
from sandbox.startable import Startable

# Debian's own directory comes before PATH: Debian's commands on PATH change the user to `rabbitmq`.
_PROGRAM_DIRECTORIES = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin", "/usr/sbin")

_LISTENS_WITHIN_S = 30.0
"""It takes milliseconds, but a virtual machine can stand still for seconds."""


def find_program(name: str) -> Path | None:
    """Find a program of RabbitMQ or Erlang; None if it is not installed."""
    path = os.pathsep.join([_PROGRAM_DIRECTORIES[0], os.environ.get("PATH", os.defpath), *_PROGRAM_DIRECTORIES[1:]])
    found = shutil.which(name, path=path)
    return Path(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Host of a node: loopback, or a network namespace with one link to its clients and one to its peers.

    Attributes:
        address: IPv4 address for clients and the management API.
        peers_address: IPv4 address for other nodes.
        name: Part of the node's Erlang name after the `@`. An IP address makes it a long name.
        enter: Words that are put before a command to run it on this host.
    """

    address: str = LOOPBACK
    peers_address: str = LOOPBACK
    name: str = "localhost"
    enter: tuple[str, ...] = ()

    @property
    def has_long_name(self) -> bool:
        """Whether Erlang must be started with long names (`RABBITMQ_USE_LONGNAME`)."""
        return "." in self.name

    @property
    def erl_args(self) -> str:
        """Arguments that bind Erlang's distribution to `peers_address` only."""
        return f"-kernel inet_dist_use_interface {{{self.peers_address.replace('.', ',')}}}"


class Epmd(Startable):
    """Erlang's port mapper on a port of its own. Nodes that share one can form a cluster."""

    def __init__(self, *, port: int | None = None, host: Host | None = None) -> None:
        self.port = port or free_port()
        self._host = host or Host()
        program = find_program("epmd") or "epmd"
        addresses = f"{self._host.address},{self._host.peers_address}"
        command = [*self._host.enter, program, "-address", addresses, "-port", str(self.port)]
        self._process = ChildProcess("epmd", command)

    @override
    def start(self) -> None:
        self._process.start()
        try:
            wait_until(
                lambda: accepts(self._host.address, self.port), timeout_s=_LISTENS_WITHIN_S, what="epmd to listen"
            )
        except TimeoutError as error:
            raise TimeoutError(self._process.explain(str(error))) from error

    @override
    def stop(self) -> None:
        self._process.kill()  # it has no state, and ignores SIGTERM while nodes are registered
