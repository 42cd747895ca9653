"""Provides a RabbitMQ: one that the environment names, an installed one, a container, or a package to install."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from eventflow.errors import SettingsError
from eventflow.service.lifecycle import EXIT_CONFIGURATION
from eventflow.settings.load import broker_urls_in
from eventflow.topology import SHIELDS
from sandbox import system_package
from sandbox.broker import container, probes
from sandbox.broker.container import Container
from sandbox.broker.node import NodeError, NodeInUseError, PrivateNode, find_program
from sandbox.ports import free_port, usual_or_free_port

DEFAULT_DIRECTORY = Path(".local")
URL_VARIABLE = "EVENTFLOW_BROKER__URL"
_AMQP_PORT = 5672
_MANAGEMENT_PORT = 15672
_MAX_NODES_PER_DIRECTORY = 100

_WAYS_OUT = f"""\
Event Flow needs a RabbitMQ, and none could be had. Any one of these helps:
  1. name one that runs: export {URL_VARIABLE}=amqp://user:password@host:5672/
  2. install it: sudo apt-get install rabbitmq-server   (or dnf install rabbitmq-server, brew install rabbitmq)
  3. start a Docker engine that has the image {container.DEFAULT_IMAGE} or can pull it
"""


class BrokerNotAvailable(Exception):  # noqa: N818 - it names what is the case, as the command says it
    """No RabbitMQ can be had here; the text names the ways out."""

    exit_status = 3


class BrokerMisnamed(BrokerNotAvailable):
    """The environment names a broker by URLs or credentials that cannot be right; the text shows none of them."""

    exit_status = EXIT_CONFIGURATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A RabbitMQ that answers.

    Attributes:
        url: One AMQP URL, or several of one cluster, comma-separated.
        management_url: None for a broker that the environment names.
        node: What to stop, kill, pause and start; None for a broker that is not ours.
    """

    url: str
    management_url: str | None
    login: str
    password: str
    node: PrivateNode | Container | None


def apply_policies(broker: Broker) -> bool:
    """Set the policies that keep others from deleting events; False where no management API is known or does it."""
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


def say_on_stderr(text: str) -> None:
    """Tell the person at the terminal."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style="yellow", markup=False)


@contextlib.contextmanager
def provide(
    directory: Path = DEFAULT_DIRECTORY,
    *,
    environ: Mapping[str, str] = os.environ,
    say: Callable[[str], None] = say_on_stderr,
) -> Iterator[Broker]:
    """Yield a RabbitMQ, and stop it afterwards if it was started here.

    In this order: the one that EVENTFLOW_BROKER__URL names; a private node from an installed `rabbitmq-server`;
    a container if a Docker engine answers; a private node from the system package, installed after telling `say`.

    Raises:
        BrokerNotAvailable: None of these works, or the broker that the environment names does not answer.
        BrokerMisnamed: The environment names a broker by wrong URLs.
    """
    urls = urls_in(environ)
    if urls:
        yield _named(urls)
        return
    node = _start_private(directory) if ensure(say=say) else _start_container(directory)
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


def ensure(*, say: Callable[[str], None] = say_on_stderr) -> bool:
    """See to it that a RabbitMQ can be started here: a private node (True) or a container (False).

    Raises:
        BrokerNotAvailable: Neither, nor can RabbitMQ be installed.
    """
    if find_program("rabbitmq-server"):
        return True
    if container.engine_answers() and container.image_available():
        return False
    try:
        system_package.install(system_package.RABBITMQ, say)
    except system_package.InstallError as error:
        raise BrokerNotAvailable(f"{_WAYS_OUT}Installing it failed: {error}") from error
    return True


def urls_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the URLs of the broker that the environment names; empty if it names none.

    Raises:
        BrokerMisnamed: The URLs or the credentials cannot be right.
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
            f"{URL_VARIABLE} names a broker at {places}, and no RabbitMQ answers there.\n"
            f"Start it, or unset {URL_VARIABLE} to let the sandbox start one."
        )
    first = addresses[0]
    return Broker(url=",".join(urls), management_url=None, login=first.login, password=first.password, node=None)


def _start_private(directory: Path) -> PrivateNode:
    """Start a node in the first directory that no other command uses, on the usual ports where free."""
    for number in range(1, _MAX_NODES_PER_DIRECTORY):
        home = directory / ("rabbitmq" if number == 1 else f"rabbitmq-{number}")
        node = PrivateNode(
            home,
            amqp_port=usual_or_free_port(_AMQP_PORT),
            management_port=usual_or_free_port(_MANAGEMENT_PORT),
        )
        try:
            node.start()
        except NodeInUseError:
            continue
        except NodeError:
            # A usual port may have been taken meanwhile; whatever else is wrong shows again.
            node = PrivateNode(home, amqp_port=free_port(), management_port=free_port())
            _start(node)
        return node
    raise BrokerNotAvailable(f"{_MAX_NODES_PER_DIRECTORY - 1} nodes run in {directory} already")


def _start_container(directory: Path) -> Container:
    node = Container(
        directory / "rabbitmq-container",
        amqp_port=usual_or_free_port(_AMQP_PORT),
        management_port=usual_or_free_port(_MANAGEMENT_PORT),
    )
    _start(node)
    return node


def _start(node: PrivateNode | Container) -> None:
    try:
        node.start()
    except NodeError as error:
        raise BrokerNotAvailable(f"RabbitMQ is here and does not start: {error}") from error
