"""The console while its store is slow, away, or not there yet: pages and probes stay quick, and unknown is not 0."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.database.server import PrivateServer
from tests.support.databases import empty_database
from tests.support.running_time import running_s
from tests.support.services import Service, console, starting
from tests.support.wait import eventually

NO_BROKER = "amqp://127.0.0.1:1/"
QUICK_S = 1.0
ANSWERED_S = 8.0
"""More than the patience of the console, because other tests keep the machine busy."""


@pytest.fixture
async def service(database_server: PrivateServer, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    async with empty_database(database_server.url) as url, starting(http) as start:
        running = await start(console(NO_BROKER, flow=flow, HISTORY__URL=url))

        async def is_there() -> bool:
            async with http.get(f"{running.url}/api/v1/attempts") as answer:
                return answer.status in {200, 503}

        await eventually(is_there, what="an answer")
        yield running


async def get(http: aiohttp.ClientSession, url: str) -> tuple[int, str, float]:
    began_s = running_s()
    async with http.get(url) as answer:
        return answer.status, await answer.text(), running_s() - began_s


@pytest.mark.timed
async def test_a_frozen_store_delays_neither_the_probes_nor_the_pages_for_long(
    database_server: PrivateServer, service: Service, flow: str, http: aiohttp.ClientSession
) -> None:
    database_server.pause()
    try:
        asking = [
            asyncio.create_task(get(http, f"{service.url}{path}"))
            for path in ("/api/v1/attempts", "/api/v1/minutes", f"/flow?flow={flow}", "/attempts") * 3
        ]
        for _ in range(5):
            for probe in ("livez", "readyz", "metrics"):
                status, _, took_s = await get(http, f"{service.admin_url}/{probe}")
                assert status == 200
                assert took_s < QUICK_S
            await asyncio.sleep(0.2)
        for status, text, took_s in await asyncio.gather(*asking):
            assert took_s < ANSWERED_S
            assert status in {200, 503}
            if text.startswith("{") and status == 200:
                assert json.loads(text)["problems"]
    finally:
        database_server.resume()

    async def answers_again() -> bool:
        status, text, _ = await get(http, f"{service.url}/api/v1/attempts")
        return status == 200 and json.loads(text)["attempts"] == []

    await eventually(answers_again, what="an answer of the store")


async def test_a_store_that_is_away_is_a_problem_with_its_reason_and_comes_back(
    database_server: PrivateServer, service: Service, flow: str, http: aiohttp.ClientSession
) -> None:
    database_server.kill()
    try:
        status, text, _ = await get(http, f"{service.url}/api/v1/attempts")
        assert status == 503
        assert "history" in json.loads(text)["detail"]
        status, _, _ = await get(http, f"{service.url}/flow?flow={flow}")
        assert status == 200
        assert await service.readyz(http) == 200
    finally:
        database_server.start()

    async def answers_again() -> bool:
        status, _, _ = await get(http, f"{service.url}/api/v1/attempts")
        return status == 200

    await eventually(answers_again, what="an answer of the store")
