"""The writer: each row once, over outages, refusals and unknown fates; and a bounded end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import structlog

from eventflow.errors import HistoryRefusedError, HistorySchemaError, HistoryUnavailableError
from eventflow.history.batches import WRITE_MAX_S
from eventflow.history.buffer import ROWS_MAX, HistoryBuffer
from eventflow.history.records import Batch
from eventflow.history.writer import FINISH_MAX_S, MAINTAIN_EVERY_S, HistoryWriter, Retention
from tests.support.history import attempt
from tests.support.memory_history import MemoryStore

pytestmark = pytest.mark.virtual_time

RETENTION = Retention(attempts=timedelta(days=7), minutes=timedelta(days=90))


class Listener:
    def __init__(self) -> None:
        self.recorded_by_flow: Counter[str] = Counter()
        self.dropped_by_flow: Counter[str] = Counter()
        self.is_up: list[bool] = []
        self.writes = 0
        self.errors: list[Exception] = []

    def recorded(self, flow: str, attempts: int) -> None:
        self.recorded_by_flow[flow] += attempts

    def dropped(self, flow: str, attempts: int) -> None:
        self.dropped_by_flow[flow] += attempts

    def written(self, seconds: float) -> None:
        self.writes += 1

    def changed(self, *, is_up: bool) -> None:
        if self.is_up[-1:] != [is_up]:
            self.is_up.append(is_up)

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


class Recording:
    """A writer over a store in memory, and all that it needs."""

    def __init__(self, *, max_bytes: int = 1 << 20, open_store: Callable[[], MemoryStore] | None = None) -> None:
        self.store = MemoryStore()
        self.listener = Listener()
        self.buffer = HistoryBuffer(writer="w", max_bytes=max_bytes, on_dropped=self.listener.dropped)
        self.writer = HistoryWriter(
            self.buffer,
            open_store or (lambda: self.store),
            name="w",
            flush_s=0.5,
            retention=RETENTION,
            listener=self.listener,
        )
        self.added: list[str] = []

    def add(self, number: int) -> None:
        for _ in range(number):
            row = attempt()
            self.added.append(row.id)
            self.buffer.add(row)

    def is_complete(self) -> bool:
        """Whether each record is in one row, or in a gap, and the metrics agree."""
        ids = [row.id for row in self.store.rows]
        assert len(ids) == len(set(ids))
        assert self.listener.recorded_by_flow.total() == len(ids)
        assert self.listener.dropped_by_flow.total() == self.store.missing
        return len(ids) + self.store.missing == len(self.added)


@asynccontextmanager
async def recording(**changes: object) -> AsyncIterator[Recording]:
    one = Recording(**changes)  # type: ignore[arg-type]
    one.writer.start()
    try:
        yield one
    finally:
        await one.writer.finish()


async def test_records_are_written_after_the_flush_time() -> None:
    async with recording() as one:
        await asyncio.sleep(1)
        one.add(3)
        await asyncio.sleep(0.6)
        assert [len(batch.attempts) for batch in one.store.batches] == [3]
        assert one.is_complete()
        assert one.writer.pending == 0


async def test_a_full_batch_is_written_at_once() -> None:
    async with recording() as one:
        await asyncio.sleep(0.7)
        one.add(ROWS_MAX)
        await asyncio.sleep(0.05)
        assert one.is_complete()


async def test_batches_are_numbered_from_1() -> None:
    async with recording(max_bytes=4 << 20) as one:
        one.add(2 * ROWS_MAX + 1)
        await asyncio.sleep(1)
        assert [batch.number for batch in one.store.batches] == [1, 2, 3]


async def test_an_outage_is_logged_once_and_costs_no_record() -> None:
    async with recording() as one:
        await asyncio.sleep(0.6)
        with structlog.testing.capture_logs() as logs:
            one.store.is_away = True
            one.add(5)
            await asyncio.sleep(60)
            assert one.listener.is_up == [True, False]
            one.store.is_away = False
            await asyncio.sleep(6)
        assert one.is_complete()
        assert one.listener.is_up == [True, False, True]
        assert [line["event"] for line in logs] == ["history.unavailable", "history.recovered"]
        assert logs[0]["reason"] == "connection refused"


async def test_a_store_that_can_be_read_and_not_written_is_away() -> None:
    def refuse(_: Batch) -> None:
        raise HistoryUnavailableError("the disk is full")

    async with recording() as one:
        await asyncio.sleep(0.6)
        with structlog.testing.capture_logs() as logs:
            one.store.before_commit = refuse
            one.add(5)
            await asyncio.sleep(60)
            assert one.listener.is_up == [True, False]
            assert one.store.calls.count("maintain") == 1
            one.store.before_commit = lambda _: None
            await asyncio.sleep(6)
        assert one.is_complete()
        assert [line["event"] for line in logs] == ["history.unavailable", "history.recovered"]


async def test_a_store_that_is_away_at_the_start_is_used_later() -> None:
    async with recording() as one:
        one.store.is_away = True
        one.add(5)
        await asyncio.sleep(10)
        one.store.is_away = False
        await asyncio.sleep(6)
        assert one.is_complete()


async def test_a_store_that_cannot_be_opened_is_opened_later() -> None:
    tries = []

    def open_store() -> MemoryStore:
        tries.append(True)
        if len(tries) < 3:
            raise HistoryUnavailableError("the extra is missing")
        return store

    store = MemoryStore()
    async with recording(open_store=open_store) as one:
        one.add(1)
        await asyncio.sleep(5)
        assert len(store.rows) == 1


async def test_a_batch_of_unknown_fate_is_written_once() -> None:
    async with recording() as one:
        await asyncio.sleep(0.6)

        def lose_answer(_: Batch) -> None:
            one.store.after_commit = lambda _: None
            raise HistoryUnavailableError("the connection was lost")

        one.store.after_commit = lose_answer
        one.add(2 * ROWS_MAX)
        await asyncio.sleep(6)
        assert one.is_complete()
        assert len(one.store.batches) == 2  # and `append` of the store in memory refuses a number that it has


async def test_a_batch_that_was_not_committed_is_repeated() -> None:
    async with recording() as one:

        def fail(_: Batch) -> None:
            one.store.before_commit = lambda _: None
            raise HistoryUnavailableError("the connection was lost")

        one.store.before_commit = fail
        one.add(7)
        await asyncio.sleep(6)
        assert one.is_complete()


async def test_a_full_buffer_is_a_gap_after_the_outage() -> None:
    async with recording(max_bytes=64 * 1024) as one:
        one.store.is_away = True
        one.add(1000)
        await asyncio.sleep(30)
        one.store.is_away = False
        await asyncio.sleep(6)
        assert one.is_complete()
        assert 800 < one.store.missing < 1000


async def test_a_frozen_store_is_away_after_a_time() -> None:
    async with recording() as one:
        await asyncio.sleep(0.6)
        one.store.is_frozen = True
        one.add(1)
        await asyncio.sleep(WRITE_MAX_S + 2)
        assert one.listener.is_up == [True, False]
        one.store.is_frozen = False
        await asyncio.sleep(2 * WRITE_MAX_S)
        assert one.is_complete()


async def test_a_refused_row_is_a_gap_and_the_others_are_on_record() -> None:
    async with recording() as one:
        one.add(ROWS_MAX)
        bad = {one.added[7], one.added[100]}

        def refuse(batch: Batch) -> None:
            if bad & {row.id for row in batch.attempts}:
                raise HistoryRefusedError("invalid byte sequence")

        one.store.before_commit = refuse
        await asyncio.sleep(6)
        assert one.is_complete()
        assert {row.id for row in one.store.rows} == set(one.added) - bad
        assert [(gap.reason, gap.attempts) for batch in one.store.batches for gap in batch.gaps] == [("refused", 2)]
        assert [row.id for row in one.store.rows] == [each for each in one.added if each not in bad]


@pytest.mark.parametrize("is_committed", [False, True])
async def test_an_unexpected_error_of_the_store_blocks_nothing(is_committed: bool) -> None:
    async with recording() as one:
        one.add(3)
        bad = one.added[1]

        def fail(batch: Batch) -> None:
            if bad in {row.id for row in batch.attempts}:
                raise ValueError("a bug")

        if is_committed:
            one.store.after_commit = fail
        else:
            one.store.before_commit = fail
        await asyncio.sleep(6)
        assert one.is_complete()
        assert len(one.store.rows) == (3 if is_committed else 2)
        assert one.listener.errors
        assert one.listener.is_up == [True]


async def test_a_wrong_schema_is_said_and_retried_slowly() -> None:
    async with recording() as one:
        with structlog.testing.capture_logs() as logs:
            one.store.is_away = True
            one.store.error = HistorySchemaError("run `eventflow history migrate`")
            one.add(1)
            await asyncio.sleep(60)
            assert 3 <= len(one.store.calls) <= 7
            one.store.is_away = False
            await asyncio.sleep(20)
        assert one.is_complete()
        assert [line["event"] for line in logs] == ["history.unavailable", "history.recovered"]
        assert "migrate" in logs[0]["reason"]


async def test_another_cause_of_an_outage_is_logged_too() -> None:
    async with recording() as one:
        with structlog.testing.capture_logs() as logs:
            one.store.is_away = True
            await asyncio.sleep(10)
            one.add(1)
            await asyncio.sleep(10)
            one.store.error = HistorySchemaError("run `eventflow history migrate`")
            await asyncio.sleep(10)
        assert [line["reason"] for line in logs] == ["connection refused", "run `eventflow history migrate`"]


async def test_old_records_are_deleted_at_the_start_and_every_hour() -> None:
    async with recording() as one:
        one.add(1)
        await asyncio.sleep(1)
        assert one.store.calls[:3] == ["last_batch", "maintain", "append"]
        await asyncio.sleep(1)
        assert one.store.calls.count("maintain") == 1
        assert MAINTAIN_EVERY_S == 3600


async def test_a_long_deletion_of_old_records_delays_nothing_and_its_failure_is_no_outage() -> None:
    async with recording() as one:
        with structlog.testing.capture_logs() as logs:
            one.store.maintaining_s = 100
            one.store.maintaining_error = HistoryUnavailableError("a lock")
            one.add(1)
            await asyncio.sleep(6)
            assert one.is_complete()
            one.add(1)
            await asyncio.sleep(1)
            assert one.is_complete()
            await asyncio.sleep(110)
            one.store.maintaining_error = None
            await asyncio.sleep(700)
        assert [line["event"] for line in logs] == ["history.retention_failed"]
        assert one.store.calls.count("maintain") == 2
        assert one.listener.is_up == [True]


async def test_the_end_writes_the_rest_and_says_goodbye() -> None:
    async with recording() as one:
        await asyncio.sleep(0.6)
        one.add(ROWS_MAX + 5)
    assert one.is_complete()
    assert one.store.ended == ["w"]
    assert one.store.is_closed


@pytest.mark.parametrize("is_frozen", [False, True])
async def test_the_end_does_not_wait_for_a_store_that_is_away(is_frozen: bool) -> None:
    began_s = asyncio.get_running_loop().time()
    with structlog.testing.capture_logs() as logs:
        async with recording() as one:
            one.store.is_away, one.store.is_frozen = not is_frozen, is_frozen
            one.add(ROWS_MAX + 5)
    assert asyncio.get_running_loop().time() - began_s < FINISH_MAX_S + 0.2
    assert one.listener.dropped_by_flow == {"default": ROWS_MAX + 5}
    dropped = logs[-1]
    assert (dropped["event"], dropped["attempts"], dropped["flows"]) == (
        "history.dropped",
        ROWS_MAX + 5,
        {"default": ROWS_MAX + 5},
    )
    assert one.store.is_closed


async def test_new_rows_are_written_while_a_backlog_is() -> None:
    async with recording(max_bytes=32 << 20) as one:
        one.store.is_away = True
        one.add(20 * ROWS_MAX)
        await asyncio.sleep(10)
        one.store.is_away = False
        for _ in range(60):
            one.add(ROWS_MAX // 5)
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert one.is_complete()
        assert one.store.missing == 0
