"""Writes parts of the history as numbered batches, one after the other, so that each row is on record once."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Protocol, TypeVar

import structlog

from eventflow.errors import HistoryError, HistoryRefusedError
from eventflow.history.buffer import HistoryBuffer, Part, size_of
from eventflow.history.records import Batch
from eventflow.history.store import RecordingStore

WRITE_MAX_S = 10.0
"""Longest time for one call of the store. After it the store counts as away."""

_FLOW_OF = attrgetter("flow")

T = TypeVar("T")

log = structlog.stdlib.get_logger()


class BatchListener(Protocol):
    """Sees the batches. Its methods never raise."""

    def recorded(self, flow: str, attempts: int) -> None:
        """Note attempts that are on record."""
        ...

    def dropped(self, flow: str, attempts: int) -> None:
        """Note attempts that will not be on record."""
        ...

    def written(self, seconds: float) -> None:
        """Note the time for one batch."""
        ...

    def failed(self, error: Exception) -> None:
        """Note an internal error; the writer continues."""
        ...


class BatchSequence:
    """The batches of one process.

    Guarantee: each row is written once. The number of a batch is written in the same transaction. So if it is not known
    whether a batch is on record, for example after a lost connection, `find_last` asks the store, before the batch is
    repeated.
    """

    def __init__(
        self, buffer: HistoryBuffer, *, name: str, listener: BatchListener, on_written: Callable[[], None]
    ) -> None:
        """Begin with number 1.

        Args:
            buffer: Gave the parts, and gets back their memory.
            name: Name of the process.
            listener: Sees the batches.
            on_written: Called after each batch that the store has accepted.
        """
        self._buffer = buffer
        self._name = name
        self._listener = listener
        self._on_written = on_written
        self._number = 0  # of the last batch that is known to be on record
        self._parts: deque[Part] = deque()  # taken out of the buffer; the first one may be on record already

    @property
    def pending(self) -> int:
        """Number of rows that were taken out of the buffer and are not known to be on record."""
        return sum(len(part.attempts) for part in self._parts)

    async def find_last(self, store: RecordingStore) -> None:
        """Find out whether the batch in progress is on record. Call this before the first batch and after an outage."""
        if await in_time(store.last_batch(self._name)) > self._number and self._parts:
            self._note_written()  # its transaction had ended before its answer was lost

    async def write(self, part: Part, store: RecordingStore) -> None:
        """Write a part, in several batches if the store refuses rows of it."""
        self._parts.append(part)
        await self.write_taken(store)

    async def write_taken(self, store: RecordingStore) -> None:
        """Write the parts that were taken out of the buffer and are not on record."""
        while self._parts:
            await self._write_first(store)

    def drop_rest(self) -> None:
        """Count the rows that are left at the end. No gap can be recorded: there is no store, or no time.

        The first of them may be on record nevertheless, if the answer of the store was not awaited.
        """
        while (part := self._buffer.take()) is not None:
            self._parts.append(part)
        left = Counter(_FLOW_OF(record) for part in self._parts for record in part.attempts)
        self._parts.clear()
        for flow, attempts in left.items():
            self._listener.dropped(flow, attempts)
        if left:
            log.warning("history.dropped", attempts=left.total(), flows=dict(left), reason="the process ends")

    async def _write_first(self, store: RecordingStore) -> None:
        part = self._parts[0]
        began_s = time.monotonic()
        batch = Batch(
            writer=self._name,
            number=self._number + 1,
            attempts=part.attempts,
            minutes=part.minutes,
            gaps=part.gaps,
        )
        try:
            await in_time(store.append(batch))
        except HistoryRefusedError as error:
            self._divide(part, error)
        except (HistoryError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - a guard: a row on which the store fails must not block all others
            self._listener.failed(error)
            if await in_time(store.last_batch(self._name)) > self._number:
                self._note_written()
            else:
                self._divide(part, error)
        else:
            self._listener.written(time.monotonic() - began_s)
            self._note_written()
            self._on_written()

    def _note_written(self) -> None:
        """Note that the batch in progress is on record."""
        part = self._parts.popleft()
        self._number += 1
        self._buffer.release(part)
        for flow, attempts in Counter(map(_FLOW_OF, part.attempts)).items():
            self._listener.recorded(flow, attempts)

    def _divide(self, part: Part, error: Exception) -> None:
        """Divide a part that the store refuses, until the rows that it refuses are alone; drop these."""
        self._parts.popleft()
        if part.attempts and (part.minutes or part.gaps):
            rows = Part(attempts=part.attempts, size_bytes=part.size_bytes)
            self._parts.extendleft((Part(minutes=part.minutes, gaps=part.gaps), rows))
        elif len(part.attempts) > 1:
            middle = len(part.attempts) // 2
            for half in (part.attempts[middle:], part.attempts[:middle]):
                self._parts.appendleft(Part(attempts=half, size_bytes=sum(map(size_of, half))))
        elif part.attempts:
            (record,) = part.attempts
            log.error("history.row_refused", flow=record.flow, attempt_id=record.id, reason=str(error))
            self._buffer.drop(record.flow, record.started_at, "refused")
            self._buffer.release(part)
        else:
            log.error("history.counts_refused", minutes=len(part.minutes), gaps=len(part.gaps), reason=str(error))


async def in_time(call: Awaitable[T]) -> T:
    """Await a call of the store; the store is away if it takes too long."""
    async with asyncio.timeout(WRITE_MAX_S):
        return await call
