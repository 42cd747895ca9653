"""Provides a RabbitMQ: one that the environment names, an installed one, a container, or a package to install."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eventflow.errors import SettingsError
from eventflow.service.lifecycle import EXIT_CONFIGURATION
from eventflow.settings.load import broker_urls_in
from eventflow.topology import SHIELDS
from sandbox import docker, system_package
from sandbox.broker import container, probes
from sandbox.broker.container import Container
from sandbox.broker.erlang import find_program
from sandbox.broker.node import NodeError, NodeInUseError, PrivateNode
from sandbox.broker.rabbitmq import RabbitMQ
from sandbox.ports import free_port, usual_or_free_port
from sandbox.provided import NotAvailable, print_notice

DEFAULT_DIRECTORY = Path(".local")
URL_VARIABLE = "EVENTFLOW_BROKER__URL"
_AMQP_PORT = 5672
_MANAGEMENT_PORT = 15672
_MAX_NODES_PER_DIRECTORY = 100

_WAYS_OUT = f"""\
Event Flow needs RabbitMQ, and found no way to start one. Do one of these:
  1. Use a RabbitMQ that runs:  export {URL_VARIABLE}=amqp://user:password@host:5672/
  2. Install RabbitMQ:          sudo apt-get install rabbitmq-server
                                (or dnf install rabbitmq-server, brew install rabbitmq)
  3. Start Docker. It needs the image {container.DEFAULT_IMAGE} or must be able to pull it.
"""


class BrokerNotAvailable(NotAvailable):
    """No RabbitMQ can be used or started here; the text lists the ways to get one."""


class BrokerMisnamed(BrokerNotAvailable):
    """The environment names a broker by invalid URLs or credentials; the text shows none of them."""

    exit_status = EXIT_CONFIGURATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A RabbitMQ that answers.

    Attributes:
        url: One AMQP URL, or those of a cluster, comma-separated.
        management_url: URL of its management API; None for a broker that the environment names.
        node: Handle that stops, kills and freezes it; None for a broker that the sandbox did not start.
    """

    url: str
    management_url: str | None
    login: str
    password: str
    node: RabbitMQ | None


def apply_policies(broker: Broker) -> bool:
    """Set the policies that protect events from other policies; return False if the management API did not do it."""
    return broker.management_url is not None and all(
        probes.management_put(
            broker.management_url,
            f"policies/%2F/{spec.name}",
            spec.body,
            login=broker.login,
            password=broker.password,
        )
        for spec in SHIELDS
    )


@contextlib.contextmanager
def provide(
    directory: Path = DEFAULT_DIRECTORY,
    *,
    environ: Mapping[str, str] = os.environ,
    notify: Callable[[str], None] = print_notice,
    erl_args: str = "",
) -> Iterator[Broker]:
    """Yield a RabbitMQ; stop it afterwards if it was started here.

    The first of these is used: the broker that EVENTFLOW_BROKER__URL names; a private node from an installed
    `rabbitmq-server`; a container if a Docker engine answers; a private node from the system package, which is
    installed after a notice.

    Args:
        directory: Directory for the data of a broker that is started here.
        environ: Environment that may name a broker.
        notify: Called with the notice.
        erl_args: More arguments of the Erlang VM, for a private node.

    Raises:
        BrokerNotAvailable: None of these works, or the broker that the environment names does not answer.
        BrokerMisnamed: The environment names a broker by invalid URLs.
    """
    urls = urls_in(environ)
    if urls:
        yield _named(urls)
        return
    node = _start_private(directory, erl_args) if ensure(notify=notify) else _start_container(directory)
    try:
        yield Broker(
            url=node.url,
            management_url=node.management_url,
            login=node.login,
            password=node.password,
            node=node,
        )
    finally:
        node.stop()


def ensure(*, notify: Callable[[str], None] = print_notice) -> bool:
    """Make sure that RabbitMQ can be started here, and install it if needed.

    Returns:
        True if a private node can be started, False if a container can.

    Raises:
        BrokerNotAvailable: Neither can be started, and RabbitMQ cannot be installed.
    """
    if find_program("rabbitmq-server"):
        return True
    if docker.engine_answers() and docker.image_available(container.DEFAULT_IMAGE):
        return False
    try:
        system_package.install(system_package.RABBITMQ, notify)
    except system_package.InstallError as error:
        raise BrokerNotAvailable(f"{_WAYS_OUT}The installation failed: {error}") from error
    return True


def urls_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the URLs of the broker that the environment names; empty if it names none.

    Raises:
        BrokerMisnamed: The URLs or the credentials are invalid.
    """
    try:
        return broker_urls_in(environ)
    except SettingsError as error:
        raise BrokerMisnamed(str(error)) from error


def _named(urls: Sequence[str]) -> Broker:
    addresses = [probes.BrokerAddress.of(url) for url in urls]
    if not any(probes.speaks_amqp(address) for address in addresses):
        places = ", ".join(f"{address.host}:{address.port}" for address in addresses)
        raise BrokerNotAvailable(
            f"{URL_VARIABLE} names a broker at {places}, but no RabbitMQ answers there.\n"
            f"Start it, or unset {URL_VARIABLE}: then one is started for you."
        )
    first = addresses[0]
    return Broker(url=",".join(urls), management_url=None, login=first.login, password=first.password, node=None)


def _start_private(directory: Path, erl_args: str) -> PrivateNode:
    """Start a node in the first directory that no other command uses, on the usual ports if they are free."""
    for number in range(1, _MAX_NODES_PER_DIRECTORY):
        home = directory / ("rabbitmq" if number == 1 else f"rabbitmq-{number}")
        node = PrivateNode(
            home,
            amqp_port=usual_or_free_port(_AMQP_PORT),
            management_port=usual_or_free_port(_MANAGEMENT_PORT),
            erl_args=erl_args,
        )
        try:
            node.start()
        except NodeInUseError:
            continue
        except NodeError:
            # Another program may have taken a usual port meanwhile; any other cause fails the second start too.
            node = PrivateNode(home, amqp_port=free_port(), management_port=free_port(), erl_args=erl_args)
            _start(node)
        return node
    raise BrokerNotAvailable(f"{_MAX_NODES_PER_DIRECTORY - 1} nodes already run in {directory}")


def _start_container(directory: Path) -> Container:
    node = Container(
        directory / "rabbitmq-container",
        amqp_port=usual_or_free_port(_AMQP_PORT),
        management_port=usual_or_free_port(_MANAGEMENT_PORT),
    )
    _start(node)
    return node


def _start(node: RabbitMQ) -> None:
    try:
        node.start()
    except NodeError as error:
        raise BrokerNotAvailable(f"RabbitMQ is installed but does not start: {error}") from error
