"""Whole processors that record their attempts in real stores, which fail: no attempt is missing, and no event waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from eventflow.event import utc_now
from eventflow.history.filters import AttemptFilter, Cursor
from eventflow.history.opening import open_history
from eventflow.history.records import AttemptRecord, Gap, MinuteCount
from eventflow.topology import Lane, lane_queue
from tests.support.amqp import Amqp
from tests.support.services import Service, processor, starting
from tests.support.target import ScriptedTarget

Start = Callable[..., "asyncio.Future[Service]"]

SECRET = "t0ps3cret-of-ours"
FLUSH_S = 0.1


@pytest.fixture(params=["sqlite"])
def history_url(tmp_path: Path) -> str:
    """URL of an empty store."""
    return f"sqlite:///{tmp_path}/history.db"


@pytest.fixture
async def start(
    broker_url: str, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession, amqp: Amqp
) -> AsyncIterator[Start]:
    """Starts a processor of the flow with a history, its queues declared before."""
    await amqp.declare_flow(flow)
    async with starting(http) as start:

        async def start_one(url: str, **settings: str) -> Service:
            usual = {"HISTORY__URL": url, "HISTORY__FLUSH_S": str(FLUSH_S), "target_url": target.url}
            return await start(processor(broker_url, flow=flow, **(usual | settings)))

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


class Recorded:
    """All that a store has of a flow."""

    def __init__(self, rows: list[AttemptRecord], gaps: list[Gap], minutes: list[MinuteCount]) -> None:
        self.rows, self.gaps, self.minutes = rows, gaps, minutes

    @property
    def attempts(self) -> int:
        """Attempts with a row or in a gap; each row must be there once."""
        assert len({row.id for row in self.rows}) == len(self.rows)
        return len(self.rows) + sum(gap.attempts for gap in self.gaps)

    @property
    def counted(self) -> int:
        return sum(count.attempts for count in self.minutes)


async def recorded(url: str, flow: str) -> Recorded:
    """Read the store as an operator does, page by page."""
    store = open_history(url)
    since, until = utc_now() - timedelta(hours=1), utc_now() + timedelta(minutes=1)
    try:
        rows: list[AttemptRecord] = []
        while page := await store.attempts(
            AttemptFilter(flow=flow), after=Cursor(rows[-1].started_at, rows[-1].id) if rows else None, limit=200
        ):
            rows += page
        return Recorded(
            rows,
            await store.gaps(flow, since=since, until=until),
            await store.minutes(flow, since=since, until=until),
        )
    finally:
        await store.close()


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
