"""Handlers in real processors, with a real broker and a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aio_pika
import aiohttp
import pytest

from eventflow.topology import Lane, dead_queue, lane_queue
from tests.support.amqp import Amqp
from tests.support.databases import execute, fetch
from tests.support.handlers import EFFECTS
from tests.support.services import Service, processor, starting
from tests.support.wait import eventually

Start = Callable[..., "asyncio.Future[Service]"]


@pytest.fixture
async def start(
    broker_url: str, flow: str, database: str, http: aiohttp.ClientSession, amqp: Amqp
) -> AsyncIterator[Start]:
    """Starts a processor of a flow with a handler, and of no other flow."""
    await execute(database, EFFECTS)
    for name in (flow, f"{flow}_out"):
        await amqp.declare_flow(name)
    async with starting(http, has_bugs=True) as start:

        async def start_one(call: str = "on_asyncpg", **settings: str) -> Service:
            configured = {
                "HANDLER__CALL": f"tests.support.handlers:{call}",
                "HANDLER__DATABASE_URL": database,
                "PROCESSOR__FLOWS": flow,
                f"FLOWS__{flow.upper()}_OUT__TARGET__URL": "http://127.0.0.1:1/",
                f"FLOWS__{flow.upper()}_OUT__TARGET__RETRY_DELAYS_S": "0.2,0.5",
                "TARGET__MAX_ATTEMPTS": "2",
            }
            chosen = {name: value for name, value in (configured | settings).items() if value}
            return await start(processor(broker_url, flow=flow, **chosen))

        yield start_one


def message(event_id: str, **orders: Any) -> aio_pika.Message:
    return aio_pika.Message(
        json.dumps(orders).encode(), message_id=event_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )


async def test_the_effect_of_an_event_and_what_it_emits_are_committed_together_and_once(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = await start()
    once, again = message("a", emit=2), message("a", emit=2)
    await amqp.publish(lane_queue(flow, Lane.LIVE), once, again, message("b"))
    await service.counts(http, "eventflow_events_delivered_total", 3)
    await service.counts(http, "eventflow_inbox_skipped_total", 1)
    assert [tuple(row) for row in await fetch(database, "SELECT event_id FROM effects ORDER BY 1")] == [("a",), ("b",)]
    rows = await fetch(database, "SELECT flow, id, source, type, body FROM eventflow.outbox ORDER BY number")
    assert [tuple(row) for row in rows] == [
        (f"{flow}_out", f"a/{n}", "amqp", "test.derived", b'{"number":%d}' % n) for n in range(2)
    ]
    assert await amqp.depth(dead_queue(flow)) == 0


async def test_without_a_database_the_derived_events_are_published(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = await start("without_database", HANDLER__DATABASE_URL="")
    await amqp.publish(lane_queue(flow, Lane.LIVE), message("a", emit=2), message("b"))
    await service.counts(http, "eventflow_events_delivered_total", 2)
    emitted = await amqp.drain(lane_queue(f"{flow}_out", Lane.LIVE))
    assert [(each.headers["cloudEvents:id"], each.body) for each in emitted] == [
        (f"a/{n}", b'{"number":%d}' % n) for n in range(2)
    ]


async def test_an_event_whose_function_raises_changes_nothing_and_ends_in_the_dead_queue(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = await start()
    await amqp.publish(lane_queue(flow, Lane.LIVE), message("a", **{"raise": "no such order"}))

    async def is_dead() -> bool:
        return await amqp.depth(dead_queue(flow)) == 1

    await eventually(is_dead, what=lambda: f"a dead letter\n{service.output}")
    [letter] = await amqp.drain(dead_queue(flow))
    assert letter.headers["eventflow-reason"] == "handler_raised"
    assert letter.headers["eventflow-text"] == "ValueError: no such order"
    assert letter.headers["eventflow-attempt"] == 2
    assert await fetch(database, "SELECT FROM effects") == []
    assert await fetch(database, "SELECT FROM eventflow.inbox") == []
    [line, _] = service.logged("handler.raised")
    assert "handlers.py" in line["exception"]
    assert (line["event_id"], line["attempt"]) == ("a", 1)
