"""Fixtures: a real broker for those tests that need one, and a flow of its own for each test."""

import asyncio
import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import hypothesis
import pytest

from sandbox.broker import provision
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.means import cannot
from tests.support.nodes import running_node
from tests.support.shared_broker import BrokerSource, OwnBroker, RemoteBroker, ServedBroker, fast_place
from tests.support.target import ScriptedTarget
from tests.support.virtual_time import VirtualTimeLoop

hypothesis.settings.register_profile("untimed", deadline=None)  # how long an example takes is no test's matter
hypothesis.settings.load_profile("untimed")

GIVEN_BROKER = os.environ.get(provision.URL_VARIABLE)
BROKER = pytest.StashKey[BrokerSource]()
BROKER_DATA = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the broker of the run, and let programs that tests start end at Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):  # this process is a worker of pytest-xdist
        config.stash[BROKER] = RemoteBroker(config.workerinput["broker"])
        config.stash[BROKER_DATA] = Path(config.workerinput["broker_data"])
        return
    directory = tempfile.TemporaryDirectory(prefix="eventflow-tests-", dir=fast_place(), ignore_cleanup_errors=True)
    config.add_cleanup(directory.cleanup)
    config.stash[BROKER_DATA] = Path(directory.name)
    config.stash[BROKER] = OwnBroker(GIVEN_BROKER, Path(directory.name, "shared"))
    config.add_cleanup(lambda: config.stash[BROKER].close())  # noqa: PLW0108 - the source may be another one by then


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Serve the broker to the workers that pytest-xdist will start."""
    config.stash[BROKER] = ServedBroker(config.stash[BROKER])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker the address at which it can ask for the broker, and the place for brokers of its own."""
    served = node.config.stash[BROKER]
    assert isinstance(served, ServedBroker)
    node.workerinput |= {"broker": served.address, "broker_data": str(node.config.stash[BROKER_DATA])}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever uses a broker, so that `-m "not broker"` runs where none can be had."""
    for item in items:
        if {"broker_url", "node"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.broker)


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests with the marker `virtual_time` on a loop whose clock jumps, and all others on a usual one."""
    is_virtual = item.get_closest_marker("virtual_time") is not None
    return {"virtual": VirtualTimeLoop} if is_virtual else {"usual": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def _scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("EVENTFLOW_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def broker_url(pytestconfig: pytest.Config) -> str:
    """A broker that all tests share: the one that EVENTFLOW_BROKER__URL names, or a private one."""
    try:
        return pytestconfig.stash[BROKER].url()
    except provision.BrokerNotAvailable as error:
        cannot(f"no broker: {error}")


@pytest.fixture(scope="module")
def node_directory(pytestconfig: pytest.Config) -> Path:
    """A directory for the data of a module's own nodes; it is deleted when the run ends, also if the worker crashes."""
    return pytestconfig.stash[BROKER_DATA] / secrets.token_hex(4)


@pytest.fixture(scope="session")
def private_node(pytestconfig: pytest.Config) -> Iterator[PrivateNode]:
    """A node for the modules of this process, one after the other: a start takes as much processor time as 40 tests."""
    with running_node(pytestconfig.stash[BROKER_DATA] / secrets.token_hex(4)) as private:
        yield private


@pytest.fixture(scope="module")
def node(private_node: PrivateNode) -> PrivateNode:
    """A node that a module's tests may stop, kill, freeze and alarm. They end such a state again."""
    private_node.resume()
    if not private_node.alive:
        private_node.start()
    return private_node


@pytest.fixture
def flow() -> str:
    """A flow's name that no other test uses."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
async def amqp(broker_url: str) -> AsyncIterator[Amqp]:
    """A plain AMQP client beside ours, for looking and for publishing what others might publish."""
    async with Amqp(broker_url) as client:
        yield client


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
        yield client


@pytest.fixture
async def target() -> AsyncIterator[ScriptedTarget]:
    """A target that answers as the test says."""
    async with ScriptedTarget() as scripted:
        yield scripted


@pytest.fixture(scope="session")
def webhook_bodies() -> dict[str, bytes]:
    """Real webhook bodies by file name."""
    folder = Path(__file__).parent / "data" / "webhooks" / "github"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}
