"""Authentication at a live collector: tokens that nothing shows, and headers of a proxy."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from eventflow.topology import Lane, lane_queue
from tests.support.amqp import Amqp
from tests.support.services import Service, collector

TOKEN = "s3cret-t0ken-of-ours"
DESCRIPTIONS = """
[senders.in-path.authentication]
scheme = "token"
token = { sub_path = true }

[senders.in-query.authentication]
scheme = "token"
token = { query = "token" }

[senders.behind-proxy.authentication]
scheme = "proxied"
header = "X-Client-DN"
"""


@pytest.fixture
async def service(broker_url: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path) -> AsyncIterator[Service]:
    config = tmp_path / "senders.toml"
    config.write_text(DESCRIPTIONS)
    settings = {"TELEMETRY__LOG_LEVEL": "debug", "COLLECTOR__TRUSTED_PROXIES": "127.0.0.1"}
    for kind in ("in-path", "in-query", "behind-proxy"):
        settings |= {
            f"FLOWS__{flow.upper()}_{kind.upper()}__SOURCE__{name}": value
            for name, value in (("VERIFY", kind), ("SECRETS", TOKEN))
        }
    running = collector(broker_url, flow=flow, CONFIG=str(config), **settings)
    with running.process:
        await running.ready(http)
        yield running
    assert "Traceback" not in running.output


async def test_a_token_in_the_address_is_accepted_and_never_shown(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    tried = [
        (f"{service.url}_in-path/{TOKEN}", 202),
        (f"{service.url}_in-path/{TOKEN}/more", 401),
        (f"{service.url}_in-path", 401),
        (f"{service.url}_in-query?token={TOKEN}", 202),
        (f"{service.url}_in-query?tokens={TOKEN}", 401),
    ]
    for url, status in tried:
        async with http.post(url, data=b"{}") as answer:
            assert answer.status == status
            assert TOKEN not in await answer.text()
            assert TOKEN not in str(answer.headers)
    for kind in ("in-path", "in-query"):
        [message] = await amqp.drain(lane_queue(f"{flow}_{kind}", Lane.LIVE))
        assert TOKEN not in str(message.headers)
    await service.logs("event.rejected", count=3)
    assert TOKEN not in service.output


async def test_a_header_of_the_proxy_counts_from_its_address(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    for headers, status in [([("X-Client-DN", TOKEN)], 202), ([("X-Client-DN", TOKEN)] * 2, 401), ([], 401)]:
        async with http.post(f"{service.url}_behind-proxy", data=b"{}", headers=headers) as answer:
            assert answer.status == status
    await amqp.drain(lane_queue(f"{flow}_behind-proxy", Lane.LIVE))
