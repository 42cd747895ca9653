"""The history in an SQLite file: several processes, locks, full and strange files, and the plans of its queries."""

import asyncio
import os
import shutil
import sqlite3
import stat
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.history.filling import fill
from benchmarks.history.week import RARE_TYPE
from eventflow.errors import HistoryError, HistoryLateError, HistorySchemaError, HistoryUnavailableError
from eventflow.history.filters import FAILURES, AttemptFilter, Cursor
from eventflow.history.records import Action, Batch, FlowMinute, Gap, MinuteCount, MinuteKey
from eventflow.history.sqlite import file, reading, store, upkeep, writing
from eventflow.history.sqlite.migrations import MIGRATIONS
from eventflow.history.sqlite.store import CALLS_MAX, SqliteStore
from tests.support.history import NOON, attempt
from tests.support.history_writer import BATCH_ATTEMPTS
from tests.support.wait import eventually

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history" / "history.db"


@pytest.fixture
async def history(path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path)
    yield opened
    await opened.close()


def batch(number: int, **fields: Any) -> Batch:
    return Batch(writer="processor-1", number=number, attempts=[attempt(**fields)])


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of all writers, as another process does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def log_bytes(path: Path) -> int:
    """Return the size of the write-ahead log."""
    return Path(f"{path}-wal").stat().st_size


def files_with(content: bytes, path: Path) -> list[str]:
    """Return the names of the files of a history that contain some bytes."""
    return [entry.name for entry in path.parent.iterdir() if content in entry.read_bytes()]


# Processes


async def writer(path: Path, name: str, *, batches: int) -> Process:
    arguments = (str(path), name, str(batches))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.history_writer", *arguments, stdout=PIPE, stderr=PIPE
    )


async def test_processes_that_begin_a_file_together_write_all_their_batches(path: Path) -> None:
    writers = [await writer(path, f"processor-{number}", batches=30) for number in range(4)]
    history = SqliteStore(path)  # meanwhile, the console reads

    async def some() -> bool:
        try:
            return bool(await history.attempts(AttemptFilter(flow="default"), limit=200))
        except HistoryError:  # there is no file yet, or it has no schema
            return False

    await eventually(some, what="attempts on record")
    for process in writers:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    for number in range(4):
        assert len(await history.attempts_of(f"processor-{number}", limit=1000)) == 30 * BATCH_ATTEMPTS
    await history.close()


async def test_a_killed_process_leaves_whole_batches_and_no_lock(path: Path) -> None:
    process = await writer(path, "processor-1", batches=1_000_000)
    assert process.stdout is not None
    printed = [int(await process.stdout.readline()) for _ in range(20)]
    process.kill()
    printed += [int(line) for line in (await process.stdout.read()).split(b"\n")[:-1]]
    await process.wait()
    history = SqliteStore(path)
    last = await history.last_batch("processor-1")
    assert last - printed[-1] in {0, 1}
    assert len(await history.attempts_of("processor-1", limit=100_000)) == last * BATCH_ATTEMPTS
    await history.append(Batch(writer="processor-1", number=last + 1))
    await history.close()


async def test_a_locked_file_is_reported_and_works_again_afterwards(
    history: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOCK_MAX_S", 0.2)
    await history.append(batch(1))
    with locked(path):
        with pytest.raises(HistoryUnavailableError, match="another process has locked"):
            await history.append(batch(2))
        assert len(await history.attempts_of("order-1")) == 1
    await history.append(batch(2))
    assert len(await history.attempts_of("order-1")) == 2


async def test_a_query_waits_for_no_change_and_sees_it_afterwards(history: SqliteStore) -> None:
    await history.append(batch(1))
    may_end = threading.Event()
    change = asyncio.create_task(
        history._change(lambda connection: (writing.appending(batch(2), now=NOON)(connection), may_end.wait()))
    )
    await asyncio.sleep(0.1)
    assert len(await history.attempts_of("order-1")) == 1
    may_end.set()
    await change
    assert len(await history.attempts_of("order-1")) == 2


# Time limits


async def test_a_query_that_takes_too_long_is_ended_and_does_not_hold_up_others(
    history: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "QUERY_MAX_S", 1.0)
    await history.append(batch(1))
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    query = asyncio.create_task(history._query(lambda connection: connection.execute(endless).fetchall()))
    assert len(await history.attempts_of("order-1")) == 1
    assert not query.done()
    with pytest.raises(HistoryLateError, match=r"taken too long|has not ended"):
        await query


async def test_a_disk_that_hangs_fails_changes_in_time_and_holds_a_bounded_number_of_them(
    history: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await history.append(batch(1))
    heals = threading.Event()
    hanging = asyncio.create_task(history._on_thread(heals.wait, within_s=60))
    await asyncio.sleep(0)
    with monkeypatch.context() as patch:
        patch.setattr(store, "WRITE_MAX_S", 0.2)
        for _ in range(CALLS_MAX):
            with pytest.raises(HistoryUnavailableError, match="has not answered within"):
                await history.append(batch(2))
        with pytest.raises(HistoryUnavailableError, match="calls wait"):
            await history.append(batch(2))
    heals.set()
    await hanging
    await eventually(history._thread._calls.empty, what="the calls that were too late taken from the queue")
    await history.append(batch(2))
    assert len(await history.attempts_of("order-1")) == 2, "a call that is too late is not made"


async def test_queries_of_a_disk_that_hangs_end_in_time_and_use_a_bounded_number_of_threads(
    history: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await history.append(batch(1))
    heals = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(store, "QUERY_MAX_S", 0.1)
        for _ in range(2 * store.READERS):
            with pytest.raises(HistoryLateError, match="has not ended"):
                await history._on_reader(heals.wait)
    assert sum(thread.name == "history-query" for thread in threading.enumerate()) == store.READERS
    heals.set()
    assert len(await history.attempts_of("order-1")) == 1


# The file


async def test_the_file_its_log_and_its_directory_are_for_their_owner_only(history: SqliteStore, path: Path) -> None:
    await history.append(batch(1))
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert modes == {"history.db": 0o600, "history.db-wal": 0o600, "history.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_file_that_others_may_read_is_reported(history: SqliteStore, path: Path) -> None:
    await history.migrate()
    set_mode(path, 0o644)
    [problem] = (await history.check()).problems
    assert "chmod 600" in problem


async def test_a_full_disk_is_reported_and_works_again_when_there_is_room(history: SqliteStore) -> None:
    await history.append(batch(1))

    def limit(connection: sqlite3.Connection, *, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}").fetchall()

    await history._change(lambda connection: limit(connection, pages=1))
    with pytest.raises(HistoryUnavailableError, match="is full"):
        await history.append(Batch(writer="processor-1", number=2, attempts=[attempt(text="x" * 512)] * 200))
    assert await history.last_batch("processor-1") == 1
    await history.append(batch(2))  # on a new connection, which has no limit
    assert len(await history.attempts_of("order-1")) == 2


async def test_no_attempt_takes_the_room_that_is_left_to_other_programs(history: SqliteStore, path: Path) -> None:
    await history.append(batch(1))
    beside = SqliteStore(path, min_free_bytes=2**62)
    try:
        with pytest.raises(
            HistoryUnavailableError, match=r"EVENTFLOW_HISTORY__MIN_FREE_BYTES leaves 4611686018427387904"
        ):
            await beside.append(batch(2))
        assert await beside.last_batch("processor-1") == 1
        assert await beside.forget("order-1") == 1  # so room can still be made
    finally:
        await beside.close()


async def test_a_directory_that_cannot_be_written_is_reported_with_its_name(path: Path) -> None:
    path.parent.write_text("a file in place of the directory")
    history = SqliteStore(path)
    with pytest.raises(HistoryUnavailableError, match=r"history\.db cannot be opened"):
        await history.append(batch(1))
    assert (await history.check()).problems
    await history.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_directory_without_the_right_to_write_is_reported(path: Path) -> None:
    path.parent.mkdir(mode=0o500)
    history = SqliteStore(path)
    with pytest.raises(HistoryUnavailableError, match="Permission denied"):
        await history.append(batch(1))
    await history.close()


def make_text(path: Path) -> bytes:
    """Write a text in place of the database, and return it."""
    path.parent.mkdir()
    path.write_bytes(b"not a database, but a text of some length\n" * 100)
    return path.read_bytes()


def make_foreign(path: Path) -> bytes:
    """Write the database of another program, and return its content."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    return path.read_bytes()


def make_empty(path: Path) -> None:
    path.parent.mkdir()
    path.touch()


@pytest.mark.parametrize("make", [make_text, make_foreign])
async def test_a_file_of_another_program_is_refused_and_not_changed(
    history: SqliteStore, path: Path, make: Callable[[Path], bytes]
) -> None:
    before = make(path)
    for call in (history.append(batch(1)), history.attempts_of("order-1"), history.migrate()):
        with pytest.raises(HistorySchemaError, match="must name another file"):
            await call
    assert "must name another file" in (await history.check()).problems[-1]
    assert files_with(before, path) == ["history.db"]


async def test_a_schema_of_a_later_version_is_refused_with_the_remedy(history: SqliteStore, path: Path) -> None:
    await history.append(batch(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    other = SqliteStore(path)
    for call in (other.append(batch(2)), other.attempts_of("order-1"), other.migrate()):
        with pytest.raises(HistorySchemaError, match="upgrade this program"):
            await call
    report = await other.check()
    assert report.version == len(MIGRATIONS) + 1
    assert "upgrade this program" in report.problems[-1]
    await other.close()


async def test_an_empty_file_gets_the_schema_at_the_first_change_and_not_at_a_query(
    history: SqliteStore, path: Path
) -> None:
    make_empty(path)
    with pytest.raises(HistorySchemaError, match=r"version 0.*eventflow history migrate"):
        await history.attempts_of("order-1")
    assert (await history.check()).version == 0
    await history.append(batch(1))
    assert len(await history.attempts_of("order-1")) == 1


async def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    history = SqliteStore(tmp_path / "a?b#c%20 d\n" / "é&mode=ro.db")
    await history.append(batch(1))
    assert len(await history.attempts_of("order-1")) == 1
    await history.close()
    assert files_with(b"order-1", tmp_path / "a?b#c%20 d\n" / "x") == ["é&mode=ro.db"]


async def test_a_damaged_file_is_reported_and_a_new_one_is_begun_after_it_was_moved_away(
    history: SqliteStore, path: Path
) -> None:
    await history.append(Batch(writer="processor-1", number=1, attempts=[attempt() for _ in range(500)]))
    await history.close()
    with path.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xff" * 4096 * 8)
    history = SqliteStore(path)
    with pytest.raises(HistoryUnavailableError, match=r"is damaged.*move it away"):
        await history.append(batch(2))
    shutil.rmtree(path.parent)
    await history.append(batch(2))
    assert len(await history.attempts_of("order-1")) == 1
    await history.close()


async def test_a_file_that_was_deleted_while_it_was_open_is_begun_anew(history: SqliteStore, path: Path) -> None:
    await history.append(batch(1))
    shutil.rmtree(path.parent)
    await history.append(batch(2))
    assert len(await history.attempts_of("order-1")) == 1


async def test_a_history_that_has_not_begun_is_reported_and_not_created(history: SqliteStore, path: Path) -> None:
    with pytest.raises(HistoryUnavailableError, match=r"no file.*yet"):
        await history.attempts_of("order-1")
    report = await history.check()
    assert (report.version, report.size_bytes) == (0, None)
    assert not path.parent.exists()


async def test_a_closed_store_refuses_calls(history: SqliteStore) -> None:
    await history.append(batch(1))
    await history.close()
    with pytest.raises(HistoryUnavailableError, match="it is closed"):
        await history.append(batch(2))


# Size


async def test_the_log_is_bounded_while_some_reader_is_always_active(
    history: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOG_MAX_BYTES", 1024 * 1024)
    await history.migrate()
    is_over = threading.Event()

    def read_always() -> None:
        """Read on two connections in turn, each of which begins before the other one ends."""
        with (
            closing(sqlite3.connect(path, isolation_level=None)) as a,
            closing(sqlite3.connect(path, isolation_level=None)) as b,
        ):
            while not is_over.is_set():
                for begins, ends in ((a, b), (b, a)):
                    begins.execute("BEGIN")
                    begins.execute("SELECT count(*) FROM writers").fetchall()
                    if ends.in_transaction:
                        ends.execute("COMMIT")
                    time.sleep(0.02)

    reader = threading.Thread(target=read_always)
    reader.start()
    sizes = []
    for number in range(1, 41):
        records = [attempt(text="x" * 512) for _ in range(200)]
        await history.append(Batch(writer="processor-1", number=number, attempts=records))
        sizes.append(log_bytes(path))
    is_over.set()
    reader.join()
    assert max(sizes) < 2 * 1024 * 1024


async def test_space_of_deleted_attempts_is_used_again(history: SqliteStore) -> None:
    pages = []
    for round_ in range(4):
        now = NOON + round_ * 10 * DAY
        records = [attempt(started_at=now + number * SECOND, text="x" * 256) for number in range(2000)]
        await history.append(Batch(writer="processor-1", number=round_ + 1, attempts=records))
        await history.maintain(attempts=7 * DAY, minutes=90 * DAY, now=now)
        pages += await history._query(lambda connection: connection.execute("PRAGMA page_count").fetchone())
    assert pages[3] < 1.1 * pages[1]


async def test_no_byte_of_a_forgotten_event_is_left(history: SqliteStore, path: Path) -> None:
    await history.append(batch(1, event_id="secret-of-anna", subject="secret-of-anna", answer=b"secret-of-anna"))
    await history.append(batch(2))
    assert files_with(b"secret-of-anna", path)
    assert await history.forget("secret-of-anna") == 1
    assert not files_with(b"secret-of-anna", path)


async def test_deleting_lets_writers_take_their_turn(history: SqliteStore) -> None:
    old = [attempt(event_id="old", started_at=NOON - 9 * DAY + number * SECOND) for number in range(20_000)]
    await history.append(Batch(writer="processor-1", number=1, attempts=old))
    deletion = asyncio.create_task(history.maintain(attempts=7 * DAY, minutes=90 * DAY, now=NOON))
    number = 1
    while not deletion.done():
        number += 1
        await history.append(Batch(writer="processor-1", number=number, attempts=[attempt(event_id="new")]))
    await deletion
    assert number > 10
    assert len(await history.attempts_of("new", limit=10_000)) == number - 1


# Plans


class Explaining:
    """A connection that keeps the plans of its statements."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.plans: dict[str, list[str]] = {}

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        if not sql.lstrip().startswith("PRAGMA"):
            rows = self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            self.plans[sql] = [row[3] for row in rows]
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, rows: Any) -> None:
        for row in rows:
            self.execute(sql, row)


ALLOWED_SCANS = (
    "SCAN CONSTANT ROW",
    "SCAN (subquery",  # rows that an index has found
    "SCAN pieces",  # of the index by event
    "SCAN found",  # flows
    "SCAN writers",  # starts of processes
    "SCAN actions USING INDEX actions_by_time",  # in its order, up to the limit
)
"""Scans of few rows."""


async def test_no_statement_reads_a_whole_table(path: Path) -> None:
    filled = SqliteStore(path)
    await fill(filled, attempts=2000, until=NOON)
    await filled.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        explaining = Explaining(connection)
        read_everything(explaining)
        change_everything(explaining)
    for statement, plan in explaining.plans.items():
        scans = [step for step in plan if step.startswith("SCAN") and not step.startswith(ALLOWED_SCANS)]
        assert not scans, f"{statement}\n{plan}"


async def test_a_page_is_read_in_the_order_of_its_index(path: Path) -> None:
    filled = SqliteStore(path)
    await fill(filled, attempts=2000, until=NOON)
    await filled.close()
    day = {"since": NOON - DAY, "until": NOON}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for conditions in ({}, {"outcome": FAILURES}, {"outcome": "dead", "status": 422}, {"type": RARE_TYPE, **day}):
            for after in (None, Cursor(NOON, "0" * 36)):
                explaining = Explaining(connection)
                reading.attempts(explaining, AttemptFilter(flow="default", **conditions), after=after, limit=50)
                [[step]] = explaining.plans.values()
                assert "started_at" in step or "flow=?" in step
                assert "TEMP B-TREE" not in step


def read_everything(connection: Any) -> None:
    """Make all queries of the port."""
    for conditions in (
        {},
        {"outcome": FAILURES},
        {"outcome": "dead"},
        {"outcome": FAILURES, "reason": "timeout", "status": 503, "type": RARE_TYPE},
        {"outcome": "delivered", "since": NOON - DAY, "until": NOON},
        {"type": RARE_TYPE, "since": NOON - DAY, "until": NOON},
    ):
        for after in (None, Cursor(NOON, "0" * 36)):
            reading.attempts(connection, AttemptFilter(flow="default", **conditions), after=after, limit=50)
    since, until = NOON - 7 * DAY, NOON
    reading.attempts_of(connection, "order-1", flow=None, limit=200)
    reading.attempts_of(connection, "order-1", flow="default", limit=200)
    reading.minutes(connection, "default", since=since, until=until, step_minutes=120)
    reading.flow_minutes(connection, "default", since=since, until=until)
    reading.gaps(connection, "default", since=since, until=until)
    reading.writers(connection)
    reading.actions(connection, flow=None, limit=50)
    reading.actions(connection, flow="default", limit=50)
    assert reading.oldest(connection) is not None


def change_everything(connection: Any) -> None:
    """Make all changes of the port."""
    minute = MinuteCount(key=MinuteKey(1, "default", "delivered", "", 200, 1), attempts=1, duration_us=1)
    gap = Gap(writer="processor-1", flow="default", since=NOON, until=NOON, attempts=1, reason="refused")
    whole = Batch(writer="processor-1", number=1, attempts=[attempt()], minutes=[minute], gaps=[gap])
    writing.appending(whole, now=NOON)(connection)
    writing.end_writer(connection, "processor-1", now=NOON)
    writing.put_flow_minutes(connection, [FlowMinute(flow="default", at=NOON)])
    writing.put_action(connection, Action(id="1", at=NOON, by="anna", flow="default", kind="pause"))
    upkeep.forget(connection, "order-1")
    while upkeep.delete_piece(connection, attempts_before=NOON - 6 * DAY, minutes_before=NOON - 6 * DAY):
        pass
