"""A store of the history in memory, which fails as a test wants."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from eventflow.errors import HistoryUnavailableError
from eventflow.history.records import AttemptRecord, Batch


class MemoryStore:
    """The part of a store that a processor uses.

    Attributes:
        before_commit: Called with each batch before it is on record; may raise.
        after_commit: Called afterwards; if it raises, the writer does not know that the batch is on record.
        is_away: Whether each call fails.
        is_frozen: Whether each call hangs.
    """

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.before_commit: Callable[[Batch], None] = lambda _: None
        self.after_commit: Callable[[Batch], None] = lambda _: None
        self.is_away = False
        self.is_frozen = False
        self.error: Exception = HistoryUnavailableError("connection refused")
        self.maintaining_s = 0.0
        self.maintaining_error: Exception | None = None
        self.calls: list[str] = []
        self.ended: list[str] = []
        self.is_closed = False

    @property
    def rows(self) -> list[AttemptRecord]:
        return [row for batch in self.batches for row in batch.attempts]

    @property
    def missing(self) -> int:
        """Attempts in gaps."""
        return sum(gap.attempts for batch in self.batches for gap in batch.gaps)

    async def last_batch(self, writer: str) -> int:
        await self._reached("last_batch")
        return max((batch.number for batch in self.batches if batch.writer == writer), default=0)

    async def append(self, batch: Batch) -> None:
        await self._reached("append")
        assert batch.number not in {one.number for one in self.batches}, "a batch is written twice"
        self.before_commit(batch)
        self.batches.append(batch)
        self.after_commit(batch)

    async def end_writer(self, writer: str) -> None:
        await self._reached("end_writer")
        self.ended.append(writer)

    async def maintain(self, *, attempts: timedelta, minutes: timedelta, now: datetime) -> None:
        await self._reached("maintain")
        await asyncio.sleep(self.maintaining_s)
        if self.maintaining_error is not None:
            raise self.maintaining_error

    async def close(self) -> None:
        self.is_closed = True

    async def _reached(self, call: str) -> None:
        self.calls.append(call)
        if self.is_frozen:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)
        if self.is_away:
            raise self.error
