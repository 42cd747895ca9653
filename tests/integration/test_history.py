"""Whole processors that record their attempts in real stores, which fail: no attempt is missing, and no event waits."""

import asyncio
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from eventflow.topology import Lane, lane_queue
from sandbox.database.server import PrivateServer
from tests.support.amqp import Amqp
from tests.support.databases import empty_database
from tests.support.postgres_proxy import Loss, PostgresProxy
from tests.support.running_time import running_s
from tests.support.services import Service, processor, starting
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually
from tests.support.whole_history import recorded

Start = Callable[..., "asyncio.Future[Service]"]

SECRET = "t0ps3cret-of-ours"
FLUSH_S = 0.1


@pytest.fixture(params=["sqlite", "postgresql"])
def history_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.db"
    return str(request.getfixturevalue("database"))


@pytest.fixture
async def start(
    broker_url: str, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession, amqp: Amqp
) -> AsyncIterator[Start]:
    """Starts a processor of the flow with a history, its queues declared before."""
    await amqp.declare_flow(flow)
    async with starting(http) as start:

        async def start_one(url: str | None, **settings: str) -> Service:
            history = {} if url is None else {"HISTORY__URL": url, "HISTORY__FLUSH_S": str(FLUSH_S)}
            return await start(processor(broker_url, flow=flow, target_url=target.url, **(history | settings)))

        yield start_one


class Publisher:
    """Publishes events, and remembers them."""

    def __init__(self, amqp: Amqp, flow: str) -> None:
        self._amqp = amqp
        self._queue = lane_queue(flow, Lane.LIVE)
        self.events = 0

    async def publish(self, count: int) -> None:
        self.events += count
        await self._amqp.publish(self._queue, *self._amqp.messages(count))


@pytest.fixture
def publisher(amqp: Amqp, flow: str) -> Publisher:
    return Publisher(amqp, flow)


async def test_attempts_are_on_record_with_the_words_of_the_target(
    start: Start, history_url: str, target: ScriptedTarget, flow: str, publisher: Publisher, http: aiohttp.ClientSession
) -> None:
    target.answer = lambda receipt: (
        web.json_response({"sku": "is taken", "echo": SECRET, "card": "4111111111111111"}, status=422)
        if receipt.attempt == 1
        else 200
    )
    service = await start(
        history_url,
        TARGET__HEADERS=f'{{"Authorization": "Bearer {SECRET}"}}',
        HISTORY__REDACT=r"\b\d{16}\b",
    )
    await publisher.publish(3)
    await service.counts(http, "eventflow_history_recorded_total", 6)
    found = await recorded(history_url, flow)
    by_attempt = {number: [row for row in found.rows if row.attempt == number] for number in (1, 2)}
    assert [len(rows) for rows in by_attempt.values()] == [3, 3]
    failed, succeeded = by_attempt[1][0], by_attempt[2][0]
    assert (failed.outcome, failed.reason, failed.status, failed.lane) == ("retry", "client_error", 422, "events")
    assert failed.answer == b'{"sku": "is taken", "echo": "***", "card": "***"}'
    assert (failed.answer_type, failed.answer_bytes) == ("application/json; charset=utf-8", 76)
    assert failed.next_at is not None
    assert (succeeded.outcome, succeeded.status, succeeded.answer) == ("delivered", 200, None)
    assert found.counted == 6
    assert found.gaps == []
    assert await service.metric(http, "eventflow_history_up") == 1
    assert await service.metric(http, "eventflow_history_pending") == 0


async def test_a_processor_without_a_history_has_no_metrics_of_one(
    start: Start, publisher: Publisher, target: ScriptedTarget, http: aiohttp.ClientSession
) -> None:
    service = await start(None)
    async with http.get(f"{service.admin_url}/metrics") as answer:
        assert "eventflow_history" not in await answer.text()


async def test_the_end_of_a_processor_writes_the_rest_and_says_goodbye(
    start: Start, history_url: str, target: ScriptedTarget, flow: str, publisher: Publisher
) -> None:
    service = await start(history_url, HISTORY__FLUSH_S="60")
    await publisher.publish(700)
    await eventually(lambda: len(target.receipts) == 700, what="all deliveries")
    assert await asyncio.to_thread(service.process.stop) == 0
    found = await recorded(history_url, flow)
    assert (len(found.rows), found.counted) == (700, 700)
    (writer,) = found.writers
    assert writer.name == found.rows[0].writer
    assert writer.ended_at is not None


async def test_two_processors_share_a_store(
    start: Start, history_url: str, target: ScriptedTarget, flow: str, publisher: Publisher, http: aiohttp.ClientSession
) -> None:
    services = [await start(history_url) for _ in range(2)]
    for _ in range(5):
        await publisher.publish(200)

    async def all_recorded() -> bool:
        return sum([await one.metric(http, "eventflow_history_recorded_total") for one in services]) == 1000

    await eventually(all_recorded, what="all attempts on record")
    found = await recorded(history_url, flow)
    assert (found.attempts, found.counted) == (1000, 1000)
    assert len({row.writer for row in found.rows}) == 2
    assert {row.event_id for row in found.rows} == {receipt.id for receipt in target.receipts}


async def test_a_killed_processor_leaves_a_writer_without_a_goodbye(
    start: Start, history_url: str, flow: str, publisher: Publisher, http: aiohttp.ClientSession
) -> None:
    service = await start(history_url)
    await publisher.publish(10)
    await service.counts(http, "eventflow_history_recorded_total", 10)
    service.process.kill()
    (writer,) = (await recorded(history_url, flow)).writers
    assert writer.ended_at is None


async def test_a_store_that_is_away_at_the_start_delays_nothing(
    start: Start, tmp_path: Path, target: ScriptedTarget, flow: str, publisher: Publisher, http: aiohttp.ClientSession
) -> None:
    directory = tmp_path / "mounted-later"
    directory.write_text("a file in place of the directory")
    url = f"sqlite:///{directory}/history.db"
    service = await start(url)  # and it is ready
    await publisher.publish(50)
    await eventually(lambda: len(target.taken) == 50, what="all deliveries")
    await service.counts(http, "eventflow_history_up", 0)
    await service.counts(http, "eventflow_history_pending", 50)
    (line,) = await service.logs("history.unavailable")
    assert str(directory) in line["reason"]
    directory.unlink()
    directory.mkdir()
    await service.counts(http, "eventflow_history_recorded_total", 50)
    assert len(await service.logs("history.recovered")) == len(service.logged("history.unavailable")) == 1
    assert (await recorded(url, flow)).attempts == 50


async def test_another_program_s_file_is_said_and_events_are_delivered(
    start: Start, tmp_path: Path, target: ScriptedTarget, publisher: Publisher, http: aiohttp.ClientSession
) -> None:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    service = await start(f"sqlite:///{file}")
    await publisher.publish(20)
    await eventually(lambda: len(target.taken) == 20, what="all deliveries")
    (line,) = await service.logs("history.unavailable")
    assert "another program" in line["reason"]


async def test_a_full_disk_costs_rows_only_and_is_a_gap_afterwards(
    broker_url: str,
    flow: str,
    target: ScriptedTarget,
    http: aiohttp.ClientSession,
    amqp: Amqp,
    tmp_path: Path,
    publisher: Publisher,
) -> None:
    await amqp.declare_flow(flow)
    url = f"sqlite:///{tmp_path}/history.db"
    async with starting(http) as start:
        service = await start(
            processor(
                broker_url,
                flow=flow,
                target_url=target.url,
                prefix=["prlimit", f"--fsize={400 * 1024}:"],  # the soft limit of a file's size
                HISTORY__URL=url,
                HISTORY__FLUSH_S=str(FLUSH_S),
                HISTORY__BUFFER_BYTES=str(512 * 1024),
            )
        )
        for _ in range(10):
            await publisher.publish(300)
        await eventually(lambda: len(target.taken) == 3000, what="all deliveries")
        assert await service.metric(http, "eventflow_history_up") == 0
        assert await service.metric(http, "eventflow_history_dropped_total") > 0
        freed = ["prlimit", "--fsize=unlimited:", "--pid", str(service.process.pid)]
        await asyncio.to_thread(subprocess.run, freed, check=True)

        async def is_complete() -> bool:
            return await service.metric(http, "eventflow_history_pending") == 0

        await eventually(is_complete, what=lambda: f"all rows written:\n{service.output}")
        # A smaller batch may find room, which ends an outage; but most tries do not.
        assert 1 <= len(service.logged("history.unavailable")) < 10
    found = await recorded(url, flow)
    assert found.attempts == found.counted == 3000
    assert found.gaps
    assert {gap.reason for gap in found.gaps} == {"buffer_full"}


@pytest.mark.timed
async def test_a_locked_file_holds_no_event(
    start: Start, tmp_path: Path, target: ScriptedTarget, flow: str, publisher: Publisher, http: aiohttp.ClientSession
) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    service = await start(url)
    await publisher.publish(10)
    await service.counts(http, "eventflow_history_recorded_total", 10)
    with closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        await holds_nothing(target, publisher)
        connection.execute("ROLLBACK")
    await service.counts(http, "eventflow_history_recorded_total", publisher.events)
    assert (await recorded(url, flow)).attempts == publisher.events


@pytest.mark.timed
async def test_a_frozen_database_holds_no_event(
    start: Start,
    database_server: PrivateServer,
    target: ScriptedTarget,
    flow: str,
    publisher: Publisher,
    http: aiohttp.ClientSession,
) -> None:
    async with empty_database(database_server.url) as url:
        service = await start(url)
        await publisher.publish(10)
        await service.counts(http, "eventflow_history_recorded_total", 10)
        database_server.pause()
        try:
            await holds_nothing(target, publisher)
        finally:
            database_server.resume()
        await service.counts(http, "eventflow_history_recorded_total", publisher.events, within_s=30)
        assert (await recorded(url, flow)).attempts == publisher.events


async def holds_nothing(target: ScriptedTarget, publisher: Publisher) -> None:
    """Publish events, and check that each is delivered as fast as before."""
    for _ in range(10):
        before, began_s = len(target.taken), running_s()
        await publisher.publish(20)
        await eventually(lambda before=before: len(target.taken) == before + 20, what="the deliveries")
        assert running_s() - began_s < 2
        await asyncio.sleep(0.2)


@asynccontextmanager
async def loading(publisher: Publisher) -> AsyncIterator[None]:
    """Publish events while the context is open."""
    is_over = False

    async def publish() -> None:
        while not is_over:
            await publisher.publish(20)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        is_over = True  # the last events must be published: a cancelled publish would be of unknown fate
        await task


async def test_a_database_killed_under_load_has_each_attempt_once_or_in_a_gap(
    start: Start,
    database_server: PrivateServer,
    target: ScriptedTarget,
    flow: str,
    publisher: Publisher,
    http: aiohttp.ClientSession,
) -> None:
    async with empty_database(database_server.url) as url:
        service = await start(url, HISTORY__BUFFER_BYTES=str(256 * 1024))
        async with loading(publisher):
            for _ in range(3):
                await asyncio.sleep(0.7)
                database_server.kill()
                await asyncio.sleep(0.7)
                await asyncio.to_thread(database_server.start)
        await eventually(lambda: len(target.taken) == publisher.events, what="all deliveries")

        async def is_complete() -> bool:
            is_up = await service.metric(http, "eventflow_history_up")
            return bool(is_up) and await service.metric(http, "eventflow_history_pending") == 0

        await eventually(is_complete, within_s=30, what=lambda: f"all rows written:\n{service.output}")
        assert await asyncio.to_thread(service.process.stop) == 0
        found = await recorded(url, flow)
        assert found.attempts == len(target.receipts)
        assert found.counted == len(target.receipts)


async def test_an_answer_to_commit_that_is_lost_doubles_no_row(
    start: Start, database: str, target: ScriptedTarget, flow: str, publisher: Publisher, http: aiohttp.ClientSession
) -> None:
    """The connection is cut between COMMIT and its answer. So the server has the batch, unknown to the processor."""
    async with PostgresProxy(database) as proxy:
        service = await start(proxy.url)
        for _ in range(10):
            await publisher.publish(30)
            proxy.losses = [Loss.ANSWER]
            await eventually(lambda: not proxy.losses, what="a lost answer")
        await eventually(lambda: len(target.taken) == publisher.events, what="all deliveries")
        await service.counts(http, "eventflow_history_recorded_total", publisher.events, within_s=30)
        found = await recorded(database, flow)
        assert found.attempts == found.counted == publisher.events
        assert found.gaps == []
