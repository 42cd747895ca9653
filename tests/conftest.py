"""Fixtures: a real broker for those tests that need one, and a flow of its own for each test."""

import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import hypothesis
import pytest

from sandbox.broker import provision
from sandbox.broker.node import NodeError, PrivateNode
from tests.support.amqp import Amqp
from tests.support.means import cannot
from tests.support.target import ScriptedTarget

hypothesis.settings.register_profile("untimed", deadline=None)  # how long an example takes is no test's matter
hypothesis.settings.load_profile("untimed")

GIVEN_BROKER = os.environ.get(provision.URL_VARIABLE)


def pytest_configure() -> None:
    """Let programs that tests start end at Ctrl-C: a shell starts its background jobs with this signal ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever uses a broker, so that `-m "not broker"` runs where none can be had."""
    for item in items:
        if {"broker_url", "node"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.broker)


@pytest.fixture(autouse=True)
def _scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("EVENTFLOW_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that all tests share: the one that EVENTFLOW_BROKER__URL names, or a private node."""
    environ = {provision.URL_VARIABLE: GIVEN_BROKER} if GIVEN_BROKER else {}
    try:
        with provision.provide(tmp_path_factory.mktemp("broker"), environ=environ) as broker:
            yield broker.url
            if isinstance(broker.node, PrivateNode):
                broker.node.kill()  # its data are deleted anyway; an orderly stop takes 6 s
    except provision.BrokerNotAvailable as error:
        cannot(f"no broker: {error}")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNode]:
    """A node that a module's tests may stop, kill, freeze and alarm."""
    try:
        private = PrivateNode(tmp_path_factory.mktemp("node"))
    except NodeError as error:
        cannot(f"no node of our own: {error}")
    private.start()
    try:
        yield private
    finally:
        private.kill()  # as above


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
