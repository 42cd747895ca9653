"""Handlers in real processors, with a real broker and a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest

from eventflow.topology import Lane, dead_queue, lane_queue
from sandbox.database.server import PrivateServer
from tests.support.amqp import Amqp
from tests.support.databases import empty_database, execute, fetch
from tests.support.handlers import EFFECTS
from tests.support.postgres_proxy import PostgresProxy
from tests.support.services import Service, processor, starting
from tests.support.wait import eventually

Prepare = Callable[..., Service]
Start = Callable[..., Awaitable[Service]]


@pytest.fixture
async def prepare(broker_url: str, flow: str, database: str, amqp: Amqp) -> Prepare:
    """Prepares a processor of a flow with a handler, and of no other flow."""
    await execute(database, EFFECTS)
    for name in (flow, f"{flow}_out"):
        await amqp.declare_flow(name)

    def prepare_one(call: str = "on_asyncpg", **settings: str) -> Service:
        configured = {
            "HANDLER__CALL": f"tests.support.handlers:{call}",
            "HANDLER__DATABASE_URL": database,
            "PROCESSOR__FLOWS": flow,
            f"FLOWS__{flow.upper()}_OUT__TARGET__URL": "http://127.0.0.1:1/",
            f"FLOWS__{flow.upper()}_OUT__TARGET__RETRY_DELAYS_S": "0.2,0.5",
            "TARGET__MAX_ATTEMPTS": "2",
        }
        chosen = {name: value for name, value in (configured | settings).items() if value}
        return processor(broker_url, flow=flow, **chosen)

    return prepare_one


@pytest.fixture
async def start(prepare: Prepare, http: aiohttp.ClientSession) -> AsyncIterator[Start]:
    """Starts such a processor."""
    async with starting(http, has_bugs=True) as start:
        yield lambda *arguments, **settings: start(prepare(*arguments, **settings))


async def ids_in(database: str, table: str) -> list[str]:
    """Return the ids in a table."""
    column = "event_id" if table == "effects" else "id"
    return [row[0] for row in await fetch(database, f"SELECT {column} FROM {table} ORDER BY 1")]


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
    assert await ids_in(database, "effects") == ["a", "b"]
    rows = await fetch(database, "SELECT flow, id, source, type, body FROM eventflow.outbox ORDER BY number")
    assert [tuple(row) for row in rows] == [
        (f"{flow}_out", f"a/{n}", "amqp", "test.derived", b'{"number":%d}' % n) for n in range(2)
    ]
    assert await amqp.depth(dead_queue(flow)) == 0


async def test_a_kill_between_the_effect_and_its_commit_costs_nothing(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    service = await start()
    event = message("a", emit=1, kill_once=str(tmp_path / "killed"))
    await amqp.publish(lane_queue(flow, Lane.LIVE), event)
    await eventually(lambda: not service.process.alive, what=lambda: f"the kill\n{service.output}")
    assert await ids_in(database, "effects") == await ids_in(database, "eventflow.outbox") == []
    again = await start()
    await again.counts(http, "eventflow_events_delivered_total", 1)
    assert await ids_in(database, "effects") == ["a"]
    assert await ids_in(database, "eventflow.outbox") == ["a/0"]


async def test_a_kill_between_the_commit_and_the_ack_repeats_no_effect(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    async with PostgresProxy(database) as proxy:
        service = await start(HANDLER__DATABASE_URL=proxy.url)
        with proxy.holding(b"COMMIT", answers=True) as hold:
            await amqp.publish(lane_queue(flow, Lane.LIVE), message("a", emit=1))
            await eventually(lambda: hold.count == 1, what=lambda: f"the COMMIT\n{service.output}")
            service.process.kill()

        async def is_committed() -> bool:
            return await ids_in(database, "effects") == ["a"]

        await eventually(is_committed, what="the effect")
        again = await start(HANDLER__DATABASE_URL=proxy.url)
        await again.counts(http, "eventflow_inbox_skipped_total", 1)
    assert await ids_in(database, "effects") == ["a"]
    assert await ids_in(database, "eventflow.outbox") == ["a/0"]


@pytest.mark.parametrize("call", ["on_asyncpg", "on_psycopg"])
async def test_a_commit_without_an_answer_is_repeated_and_the_inbox_tells(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession, call: str
) -> None:
    async with PostgresProxy(database) as proxy:
        service = await start(call, HANDLER__DATABASE_URL=proxy.url)
        with proxy.holding(b"COMMIT", answers=True) as hold:
            await amqp.publish(lane_queue(flow, Lane.LIVE), message("a"))
            await eventually(lambda: hold.count == 1, what=lambda: f"the COMMIT\n{service.output}")
            await proxy.cut()
        await service.counts(http, "eventflow_inbox_skipped_total", 1)
        await service.counts(http, "eventflow_events_delivered_total", 1)
    assert await ids_in(database, "effects") == ["a"]
    assert await amqp.depth(dead_queue(flow)) == 0


async def test_a_database_whose_commits_are_asynchronous_keeps_the_effect_of_each_acked_event(
    start: Start, flow: str, database_server: PrivateServer, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    async with empty_database(database_server.url) as url:
        await execute(url, EFFECTS)
        # The server writes such commits in the background, here after so long that a kill would lose them.
        await execute(url, "ALTER SYSTEM SET wal_writer_delay = '10s'")
        await execute(url, "SELECT pg_reload_conf()")
        await execute(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
        service = await start(HANDLER__DATABASE_URL=url)
        for number in range(5):
            await amqp.publish(lane_queue(flow, Lane.LIVE), message(f"e{number}"))
            await service.counts(http, "eventflow_events_delivered_total", number + 1)
        await asyncio.to_thread(database_server.kill)
        await asyncio.to_thread(database_server.start)
        await execute(url, "ALTER SYSTEM RESET wal_writer_delay")
        assert await ids_in(url, "effects") == [f"e{number}" for number in range(5)]


async def test_while_the_database_is_away_no_event_is_given_up(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = await start()
    server, name = database.rpartition("/")[0] + "/postgres", database.rpartition("/")[2]
    await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await execute(server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(f"e{number}") for number in range(6)))
    await service.counts(http, "eventflow_breaker_open", 1)

    async def have_failed() -> bool:
        return await service.metric(http, "eventflow_attempts_failed_total") >= 8

    await eventually(have_failed, within_s=30, what=lambda: f"more failures than attempts\n{service.output}")
    assert (await service.readiness(http))["status"] == 200, "it is an outage, as that of a target"
    await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await service.counts(http, "eventflow_events_delivered_total", 6, within_s=60)
    assert sorted(await ids_in(database, "effects")) == [f"e{number}" for number in range(6)]
    assert await amqp.depth(dead_queue(flow)) == 0
    assert {row["attempt"] for row in await fetch(database, "SELECT attempt FROM effects")} == {1}


async def test_a_database_that_is_away_at_the_start_is_reported_and_found_by_itself(
    prepare: Prepare, flow: str, database: str, http: aiohttp.ClientSession
) -> None:
    server, name = database.rpartition("/")[0] + "/postgres", database.rpartition("/")[2]
    await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    service = prepare()
    service.process.start()
    await eventually(lambda: bool(service.logged("handler.database_away")), what=lambda: f"it\n{service.output}")
    [obstacle] = [each for each in (await service.readiness(http))["obstacles"] if "database" in each]
    assert obstacle.startswith(f"flow {flow}: the database of its handler cannot be used: ")
    await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await service.ready(http)
    assert await asyncio.to_thread(service.process.stop) == 0


async def test_reject_is_a_dead_letter_at_once_and_retry_later_costs_no_attempt(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = await start()
    rejected, later = message("a", reject="no such customer"), message("b", later_s=0.1)
    await amqp.publish(lane_queue(flow, Lane.LIVE), rejected, later)

    async def is_dead() -> bool:
        return await amqp.depth(dead_queue(flow)) == 1

    await eventually(is_dead, what=lambda: f"a dead letter\n{service.output}")

    async def has_waited() -> bool:
        return await service.metric(http, "eventflow_attempts_failed_total") >= 5

    await eventually(has_waited, what="more calls than attempts")
    [letter] = await amqp.drain(dead_queue(flow))
    names = ("eventflow-reason", "eventflow-text", "eventflow-attempt")
    assert [letter.headers.get(name) for name in names] == ["handler_rejected", "no such customer", 1]
    assert await ids_in(database, "effects") == []


async def test_a_processor_ends_while_a_thread_hangs(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = await start("on_psycopg", HANDLER__TIMEOUT_S="0.5", HANDLER__CONCURRENCY="2")
    await amqp.publish(lane_queue(flow, Lane.LIVE), message("hanging", block_s=600))
    await service.counts(http, "eventflow_handler_overrun", 1)
    await amqp.publish(lane_queue(flow, Lane.LIVE), message("a"))

    async def has_worked() -> bool:
        return "a" in await ids_in(database, "effects")

    await eventually(has_worked, what=lambda: f"the other event\n{service.output}")
    assert await asyncio.to_thread(service.process.stop) == 0


async def test_a_processor_ends_while_an_async_function_catches_each_cancellation(
    start: Start, flow: str, database: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = await start(HANDLER__TIMEOUT_S="0.5")
    await amqp.publish(lane_queue(flow, Lane.LIVE), message("endless", held=True))
    await service.counts(http, "eventflow_handler_overrun", 1)
    assert await asyncio.to_thread(service.process.stop) == 0
    [line] = service.logged("handler.not_ended")
    assert (line["flow"], line["calls"]) == (flow, 1)
    assert await ids_in(database, "effects") == []


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
    assert await ids_in(database, "effects") == await ids_in(database, "eventflow.inbox") == []
    [line, _] = await service.logs("handler.raised", count=2)
    assert "handlers.py" in line["exception"]
    assert (line["event_id"], line["attempt"]) == ("a", 1)
