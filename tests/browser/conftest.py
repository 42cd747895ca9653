"""The browser of a test, and a running flow with its console."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser

from tests.browser.world import World, running_world
from tests.support.browser import chromium

GIVEN_SCREENSHOTS = os.environ.get("EVENTFLOW_TEST_SCREENSHOTS")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium."""
    async with chromium() as running:
        yield running


@pytest.fixture
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
