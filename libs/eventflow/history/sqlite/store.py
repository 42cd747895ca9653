"""`SqliteStore`: the history in one file, for the processes of one machine."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from eventflow.errors import HistoryError, HistoryLateError, HistoryUnavailableError
from eventflow.event import utc_now
from eventflow.history.filters import AttemptFilter, Cursor
from eventflow.history.records import Action, AttemptRecord, Batch, FlowMinute, Gap, MinuteCount, Writer
from eventflow.history.sqlite import reading, upkeep, writing
from eventflow.history.sqlite.file import LOCK_MAX_S, HistoryFile, open_to_read
from eventflow.history.sqlite.report import report_of
from eventflow.history.store import QUERY_MAX_S, HistoryStore, StoreReport
from eventflow.threads import SerialThread, on_daemon_thread

WRITE_MAX_S = 2 * LOCK_MAX_S + 1
"""Longest time to wait for a change, which may wait for a lock twice: at the opening and at the transaction."""

CALLS_MAX = 8
"""Changes that wait for the thread. It does more only if its disk hangs."""

READERS = 4
"""Queries at the same time, each with a thread and a connection of its own."""

CLOSE_MAX_S = 1.0

PAUSE_S = 0.01
"""Pause between two pieces of a deletion, in which waiting writers take their turn."""

_LATE_S = 0.5  # for a query that was ended to be reported

T = TypeVar("T")


class SqliteStore(HistoryStore):
    """The history in one file, which all processes of one machine share. The file must be on a local file system.

    All changes are made on one thread, one transaction after the other. Queries wait for no change, and no change waits
    for them. `append` returns when the operating system has the batch: a batch survives the end of the process, and a
    power cut may cost the last moments. This is allowed because no event depends on the history.
    """

    def __init__(self, path: Path, *, min_free_bytes: int = 0) -> None:
        """Remember the file, which is opened or created at the first change.

        Args:
            path: Its path.
            min_free_bytes: Room on its disk below which no attempts are written; 0 for no such limit.
        """
        self._path = path
        self._file = HistoryFile(path, min_free_bytes=min_free_bytes)
        self._thread = SerialThread(name="history", calls_max=CALLS_MAX)
        self._readers = asyncio.Semaphore(READERS)

    @override
    async def last_batch(self, writer: str) -> int:
        return await self._change(partial(writing.last_batch, writer=writer))

    @override
    async def append(self, batch: Batch) -> None:
        await self._change(writing.appending(batch, now=utc_now()), needs_room=True)

    @override
    async def end_writer(self, writer: str) -> None:
        await self._change(partial(writing.end_writer, writer=writer, now=utc_now()))

    @override
    async def maintain(self, *, attempts: timedelta, minutes: timedelta, now: datetime) -> None:
        # Several processes may do this at the same time: each transaction deletes rows that no other one has deleted.
        piece = partial(upkeep.delete_piece, attempts_before=now - attempts, minutes_before=now - minutes)
        while await self._change(piece):  # noqa: ASYNC110 - the pause waits for nothing
            await asyncio.sleep(PAUSE_S)

    @override
    async def attempts_of(self, event_id: str, *, flow: str | None = None, limit: int = 200) -> list[AttemptRecord]:
        return await self._query(partial(reading.attempts_of, event_id=event_id, flow=flow, limit=limit))

    @override
    async def attempts(
        self, selection: AttemptFilter, *, after: Cursor | None = None, limit: int = 50
    ) -> list[AttemptRecord]:
        return await self._query(partial(reading.attempts, selection=selection, after=after, limit=limit))

    @override
    async def minutes(self, flow: str, *, since: datetime, until: datetime, step_minutes: int = 1) -> list[MinuteCount]:
        return await self._query(
            partial(reading.minutes, flow=flow, since=since, until=until, step_minutes=step_minutes)
        )

    @override
    async def flow_minutes(self, flow: str, *, since: datetime, until: datetime) -> list[FlowMinute]:
        return await self._query(partial(reading.flow_minutes, flow=flow, since=since, until=until))

    @override
    async def gaps(self, flow: str, *, since: datetime, until: datetime) -> list[Gap]:
        return await self._query(partial(reading.gaps, flow=flow, since=since, until=until))

    @override
    async def writers(self) -> list[Writer]:
        return await self._query(reading.writers)

    @override
    async def actions(self, *, flow: str | None = None, limit: int = 50) -> list[Action]:
        return await self._query(partial(reading.actions, flow=flow, limit=limit))

    @override
    async def put_flow_minutes(self, minutes: Collection[FlowMinute]) -> None:
        await self._change(partial(writing.put_flow_minutes, minutes=minutes))

    @override
    async def put_action(self, action: Action) -> None:
        await self._change(partial(writing.put_action, action=action))

    @override
    async def forget(self, event_id: str) -> int:
        forgotten = await self._change(partial(upkeep.forget, event_id=event_id))
        if forgotten:
            await self._on_thread(self._file.erase_log, within_s=WRITE_MAX_S)
        return forgotten

    @override
    async def migrate(self) -> Sequence[str]:
        return await self._on_thread(self._file.migrate, within_s=None)  # a step may take long in a large file

    @override
    async def check(self) -> StoreReport:
        return await self._on_reader(partial(report_of, self._path))

    @override
    async def close(self) -> None:
        with suppress(HistoryError):
            await self._on_thread(self._file.close, within_s=CLOSE_MAX_S)
        self._thread.end()

    async def _change(self, change: Callable[[sqlite3.Connection], T], *, needs_room: bool = False) -> T:
        """Make a change in one transaction."""

        def work() -> T:
            with self._file.transaction(needs_room=needs_room) as connection:
                return change(connection)

        return await self._on_thread(work, within_s=WRITE_MAX_S)

    async def _on_thread(self, work: Callable[[], T], *, within_s: float | None) -> T:
        """Do work on the thread of all changes. If it takes too long, it may still be done later."""
        try:
            async with asyncio.timeout(within_s):
                return await self._thread.call(work)
        except TimeoutError as error:
            raise HistoryUnavailableError(f"{self._path}: the disk has not answered within {within_s} s") from error
        except RuntimeError as error:
            raise HistoryUnavailableError(f"{self._path} cannot be used now: {error}") from error

    async def _query(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Make queries on a connection of their own."""

        def work() -> T:
            with open_to_read(self._path, within_s=QUERY_MAX_S) as connection:
                return query(connection)

        return await self._on_reader(work)

    async def _on_reader(self, work: Callable[[], T]) -> T:
        """Do work on a thread of its own. If its disk hangs, the thread counts as a reader until it ends."""
        try:
            async with asyncio.timeout(QUERY_MAX_S + _LATE_S):
                await self._readers.acquire()
                try:
                    future = on_daemon_thread(work, name="history-query")
                except RuntimeError as error:
                    self._readers.release()
                    raise HistoryUnavailableError(f"{self._path} cannot be read now: {error}") from error
                future.add_done_callback(lambda _: self._readers.release())
                return await asyncio.shield(future)
        except TimeoutError as error:
            raise HistoryLateError(f"{self._path}: a query has not ended within {QUERY_MAX_S:g} s") from error
