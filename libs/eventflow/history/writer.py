"""Writes the records of a process into a store, in a task of its own. No event and no start waits for it."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from eventflow.errors import HistoryError, HistorySchemaError
from eventflow.event import utc_now
from eventflow.history.batches import BatchListener, BatchSequence, in_time
from eventflow.history.buffer import HistoryBuffer, Part
from eventflow.history.store import RecordingStore
from eventflow.tasks import cancel_and_wait

BATCH_PAUSE_S = 0.01
"""Pause between two batches of a backlog, so that events get most of the time. The backlog still shrinks, because many
times the rows of the fastest processor are written even with pauses."""

RETRY_FIRST_S = 0.25
RETRY_MAX_S = 5.0
SCHEMA_RETRY_S = 15.0
"""Pause after a wrong schema, because only a person can change it."""

MAINTAIN_EVERY_S = 3600.0
MAINTAIN_AGAIN_S = 300.0
"""Pause after a failed deletion of old records."""

MAINTAIN_WAIT_S = 5.0
"""Time for which writing waits for the maintenance of the store, which makes partitions and then deletes old rows."""

FINISH_MAX_S = 2.0
"""Longest time for the last records at the end of a process."""

log = structlog.stdlib.get_logger()


class OwnStore(RecordingStore, Protocol):
    """A store that the writer opens and closes."""

    async def close(self) -> None:
        """Close it within a second."""
        ...


class WriterListener(BatchListener, Protocol):
    """Sees the work of the writer, for metrics. Its methods never raise."""

    def changed(self, *, is_up: bool) -> None:
        """Note that the store can be used, or cannot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Ages after which the store deletes."""

    attempts: timedelta
    minutes: timedelta


@dataclass(slots=True)
class _Outage:
    """A time in which the store cannot be used."""

    error: type[Exception]
    since_s: float
    failures: int = 1

    @property
    def pause_s(self) -> float:
        """Time until the next try, with jitter, so that many processors do not return at once."""
        if issubclass(self.error, HistorySchemaError):
            return random.uniform(0.8, 1.2) * SCHEMA_RETRY_S  # noqa: S311
        doubled_s = RETRY_FIRST_S * 2.0 ** min(self.failures, 10)
        return random.uniform(0.5, 1.0) * min(RETRY_MAX_S, doubled_s)  # noqa: S311


class HistoryWriter:
    """Moves records from the buffer into the store, each row once, and survives the outages of the store."""

    def __init__(
        self,
        buffer: HistoryBuffer,
        open_store: Callable[[], OwnStore],
        *,
        name: str,
        flush_s: float,
        retention: Retention,
        listener: WriterListener,
    ) -> None:
        """Take the parts; nothing begins before `start`.

        Args:
            buffer: The records of the process.
            open_store: Opens the store without I/O. It can fail like a method of the store, and is then called again.
            name: Name of the process; no other process has it, before or after this one.
            flush_s: Longest time for which a record waits, if the store can be used.
            retention: Ages after which the store deletes.
            listener: Sees the work.
        """
        self._buffer = buffer
        self._open_store = open_store
        self._name = name
        self._flush_s = flush_s
        self._retention = retention
        self._listener = listener
        self._store: OwnStore | None = None
        self._batches = BatchSequence(buffer, name=name, listener=listener, on_written=self._note_up)
        self._outage: _Outage | None = None
        self._has_begun = False
        self._flush_at_s = 0.0
        self._maintain_at_s = 0.0
        self._maintaining: asyncio.Task[float] | None = None
        self._task: asyncio.Task[None] | None = None
        self._batch_waits = asyncio.Event()
        self._finishing = asyncio.Event()
        buffer.on_batch = self._batch_waits.set

    @property
    def pending(self) -> int:
        """Number of rows that are not known to be on record."""
        return self._buffer.pending + self._batches.pending

    @property
    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def start(self) -> None:
        """Start writing."""
        self._task = asyncio.create_task(self._run())

    async def finish(self, *, within_s: float = FINISH_MAX_S) -> None:
        """Write the rest within a time, and drop the records that are left. No record may be added from here on."""
        self._finishing.set()
        self._batch_waits.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=within_s)
            await cancel_and_wait(self._task)
        if self._maintaining is not None:
            await cancel_and_wait(self._maintaining)
        self._batches.drop_rest()
        if self._store is not None:
            try:
                await self._store.close()
            except Exception as error:  # noqa: BLE001 - a guard, as in `_run`: the process ends in order
                self._listener.failed(error)

    async def _run(self) -> None:
        while True:
            is_last = self._finishing.is_set()
            if not is_last:
                self._batch_waits.clear()  # before the rows are taken, so that no later batch is missed
            try:
                await self._write_waiting(is_last=is_last)
            except (HistoryError, TimeoutError) as error:
                self._note_outage(error)
            except Exception as error:  # noqa: BLE001 - a guard: a bug costs records, and never the processor
                self._listener.failed(error)
                self._note_outage(error)
            if is_last:
                return
            await self._until_due()

    async def _write_waiting(self, *, is_last: bool) -> None:
        """Write all that waits."""
        if self._store is None:
            self._store = self._open_store()
        if self._outage is not None or not self._has_begun:
            await self._batches.find_last(self._store)
            self._has_begun = True
        if self._now_s >= self._maintain_at_s:
            await self._maintain(self._store)
        await self._batches.write_taken(self._store)  # from before an outage
        if is_last:
            await self._write_rest(self._store)
        else:
            await self._write_batches(self._store)
        self._note_up()  # only now, because a store with a full disk can be read and not written

    async def _write_batches(self, store: OwnStore) -> None:
        """Write counts and rows if the flush time is over, and then all batches that wait."""
        take: Callable[[], Part | None] = self._buffer.take_batch
        if self._now_s >= self._flush_at_s:
            self._flush_at_s, take = self._now_s + self._flush_s, self._buffer.take
        while (part := take()) is not None:
            await self._batches.write(part, store)
            if self._now_s >= self._flush_at_s:
                return  # so that the counts are written during a backlog too
            await asyncio.sleep(BATCH_PAUSE_S)
            take = self._buffer.take_batch

    async def _write_rest(self, store: OwnStore) -> None:
        while (part := self._buffer.take()) is not None:
            await self._batches.write(part, store)
        await in_time(store.end_writer(self._name))

    async def _until_due(self) -> None:
        """Wait until a batch waits or the flush time is over; during an outage, until the next try is due."""
        if self._outage is None:
            woken, pause_s = self._batch_waits, self._flush_at_s - self._now_s
        else:
            woken, pause_s = self._finishing, self._outage.pause_s
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await woken.wait()

    async def _maintain(self, store: OwnStore) -> None:
        """Let the store delete old records, and continue without it if that takes long. Its failure is no outage."""
        wait_s = 0.0
        if self._maintaining is None:
            self._maintaining, wait_s = asyncio.create_task(self._delete_old(store)), MAINTAIN_WAIT_S
        await asyncio.wait({self._maintaining}, timeout=wait_s)
        self._maintain_at_s = self._now_s + MAINTAIN_WAIT_S
        if self._maintaining.done():
            self._maintain_at_s = self._now_s + self._maintaining.result()
            self._maintaining = None

    async def _delete_old(self, store: OwnStore) -> float:
        """Let the store delete old records; return the time until it is due again. Raises no error of the store."""
        retention = self._retention
        try:
            await store.maintain(attempts=retention.attempts, minutes=retention.minutes, now=utc_now())
        except HistoryError as error:
            log.warning("history.retention_failed", reason=str(error))
        except Exception as error:  # noqa: BLE001 - a guard, as in `_run`
            self._listener.failed(error)
        else:
            return random.uniform(0.9, 1.1) * MAINTAIN_EVERY_S  # noqa: S311
        return MAINTAIN_AGAIN_S

    def _note_outage(self, error: Exception) -> None:
        self._flush_at_s = 0.0  # the next try writes all that waits, because only that shows that the outage is over
        if self._outage is not None:
            self._outage.failures += 1
            if self._outage.error is type(error):
                return
            self._outage.error = type(error)  # a new cause, such as a wrong schema after a lost connection: log it
        else:
            self._outage = _Outage(type(error), self._now_s)
        self._listener.changed(is_up=False)
        reason = str(error) or "it does not answer in time"
        log.warning("history.unavailable", reason=reason, waiting=self.pending)

    def _note_up(self) -> None:
        outage, self._outage = self._outage, None
        self._listener.changed(is_up=True)
        if outage is not None:
            uncounted, self._buffer.uncounted = self._buffer.uncounted, 0
            log.info(
                "history.recovered",
                after_s=round(self._now_s - outage.since_s, 1),
                waiting=self.pending,
                uncounted=uncounted,
            )
