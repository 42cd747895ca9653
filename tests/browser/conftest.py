"""The browser of the tests of a module, and a running flow with its console for each test.

A browser belongs to one event loop, and its start takes two seconds of processor time. So all tests of a module run on
one loop, with their fixtures; each page has a context of its own.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.world import World, running_world
from tests.support.browser import chromium

GIVEN_SCREENSHOTS = os.environ.get("EVENTFLOW_TEST_SCREENSHOTS")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium."""
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def world(broker_url: str, flow: str, tmp_path: Path, http: aiohttp.ClientSession) -> AsyncIterator[World]:
    """A flow that gives up after two attempts."""
    async with running_world(broker_url, flow=flow, directory=tmp_path, http=http, MAX_ATTEMPTS="2") as running:
        yield running


@pytest.fixture
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory for screenshots: the one in EVENTFLOW_TEST_SCREENSHOTS, or one among pytest's temporary files."""
    directory = Path(GIVEN_SCREENSHOTS) if GIVEN_SCREENSHOTS else tmp_path_factory.getbasetemp() / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
