"""Fixtures: a real broker or database for those tests that need one, and a flow of its own for each test."""

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

import sandbox.broker.provision
import sandbox.database.provision
from sandbox.broker.node import PrivateNode
from sandbox.database.server import PrivateServer
from sandbox.provided import NotAvailable
from tests.support import shared_server
from tests.support.amqp import Amqp
from tests.support.databases import empty_database, running_server
from tests.support.means import cannot
from tests.support.nodes import running_node
from tests.support.shared_server import OwnServer, RemoteServer, ServedServer, ServerSource, fast_place
from tests.support.target import ScriptedTarget
from tests.support.virtual_time import VirtualTimeLoop

hypothesis.settings.register_profile("untimed", deadline=None)  # how long an example takes is no test's matter
hypothesis.settings.load_profile("untimed")

GIVEN_BROKER = os.environ.get(sandbox.broker.provision.URL_VARIABLE)
GIVEN_DATABASE = os.environ.get(sandbox.database.provision.URL_VARIABLE)
BROKER = pytest.StashKey[ServerSource]()
DATABASE = pytest.StashKey[ServerSource]()
SERVERS = {"broker": BROKER, "database": DATABASE}
SERVER_DATA = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the broker of the run, and let programs that tests start end at Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):  # this process is a worker of pytest-xdist
        for name, key in SERVERS.items():
            config.stash[key] = RemoteServer(config.workerinput[name])
        config.stash[SERVER_DATA] = Path(config.workerinput["server_data"])
        return
    temporary = tempfile.TemporaryDirectory(prefix="eventflow-tests-", dir=fast_place(), ignore_cleanup_errors=True)
    config.add_cleanup(temporary.cleanup)
    directory = Path(temporary.name)
    directory.chmod(0o711)  # PostgreSQL, which does not run as root, must reach its data
    config.stash[SERVER_DATA] = directory
    config.stash[BROKER] = OwnServer(lambda: shared_server.broker(GIVEN_BROKER, directory / "shared"))
    config.stash[DATABASE] = OwnServer(lambda: shared_server.database(GIVEN_DATABASE, directory / "shared"))
    for key in SERVERS.values():  # the source may be another one by then
        config.add_cleanup(lambda key=key: config.stash[key].close())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Serve the broker and the database to the workers that pytest-xdist will start."""
    for key in SERVERS.values():
        config.stash[key] = ServedServer(config.stash[key])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker the addresses at which it can ask for the servers, and the place for servers of its own."""
    for name, key in SERVERS.items():
        served = node.config.stash[key]
        assert isinstance(served, ServedServer)
        node.workerinput[name] = served.address
    node.workerinput["server_data"] = str(node.config.stash[SERVER_DATA])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use a broker or a database, so that `-m "not broker and not database"` leaves them out."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"broker_url", "node"} & fixtures:
            item.add_marker(pytest.mark.broker)
        if {"database_server_url", "database_server"} & fixtures:
            item.add_marker(pytest.mark.database)


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
    except NotAvailable as error:
        cannot(f"no broker: {error}")


@pytest.fixture(scope="module")
def node_directory(pytestconfig: pytest.Config) -> Path:
    """A directory for the data of a module's own nodes; it is deleted when the run ends, also if the worker crashes."""
    return pytestconfig.stash[SERVER_DATA] / secrets.token_hex(4)


@pytest.fixture(scope="session")
def private_node(pytestconfig: pytest.Config) -> Iterator[PrivateNode]:
    """A node for the modules of this process, one after the other: a start takes as much processor time as 40 tests."""
    with running_node(pytestconfig.stash[SERVER_DATA] / secrets.token_hex(4)) as private:
        yield private


@pytest.fixture(scope="module")
def node(private_node: PrivateNode) -> PrivateNode:
    """A node that a module's tests may stop, kill, freeze and alarm. They end such a state again."""
    private_node.resume()
    if not private_node.alive:
        private_node.start()
    return private_node


@pytest.fixture(scope="session")
def database_server_url(pytestconfig: pytest.Config) -> str:
    """A PostgreSQL that all tests share: the one that EVENTFLOW_TEST_DATABASE_URL names, or a private one."""
    try:
        return pytestconfig.stash[DATABASE].url()
    except NotAvailable as error:
        cannot(f"no database: {error}")


@pytest.fixture
async def database(database_server_url: str) -> AsyncIterator[str]:
    """The URL of an empty database of its own for each test."""
    async with empty_database(database_server_url) as url:
        yield url


@pytest.fixture(scope="module")
def database_server(pytestconfig: pytest.Config) -> Iterator[PrivateServer]:
    """A PostgreSQL that a module's tests may stop, kill and freeze. They end such a state again."""
    with running_server(pytestconfig.stash[SERVER_DATA] / secrets.token_hex(4)) as server:
        yield server


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
