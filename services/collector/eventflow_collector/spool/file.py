"""A spool file in use. One thread for each file does all work on the disk; the event loop waits for futures.

Group commit: all work that is requested while the thread is busy shares the next transaction, and so one fsync.

A disk may hang, perhaps forever. In this case only the thread hangs: the event loop and the end of the process wait for
it in bounded time.
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from eventflow.spool.claims import Claim
from eventflow.spool.store import EMPTY, Record, Row, SpoolUnavailableError
from eventflow.threads import call_on_loop
from eventflow_collector.spool.directory import SpoolDirectory
from eventflow_collector.spool.executor import Executor
from eventflow_collector.spool.thread import start_thread
from eventflow_collector.spool.work import Inbox, Put, Read, Report, Unresolved, Work

LOOK_EVERY_S = 1.0
"""Interval at which an idle thread measures the room again, and retries work that has failed."""

RESOLVE_POLL_S = 0.02
ANSWER_WITHIN_S = 2.0
"""Time that the disk may take for one piece of work. With a confirm timeout of 2 s, the sum stays below the 5 s after
which senders give up."""

log = structlog.stdlib.get_logger()


class SpoolFile:
    """The event loop's side of a file.

    Guarantee: `put` returns only after the event is on disk. While the publish of a row is unresolved, the row is
    *held*, and `read` skips it. A confirm of that publish deletes the row; otherwise `read` returns it again.
    """

    def __init__(
        self,
        claim: Claim,
        directory: SpoolDirectory,
        *,
        on_changed: Callable[[], None],
        on_confirmed: Callable[[], None],
        on_corrupted: Callable[[], None],
    ) -> None:
        """Start the thread, which opens the file or creates it.

        The thread also releases or removes the file when it is closed.

        Args:
            claim: The right to use the file.
            directory: Measures the room for it.
            on_changed: Called on the event loop after an update of `usage`, `is_open`, `is_full` and `is_failing`.
            on_confirmed: Called on the event loop for each event in the file that the broker has confirmed.
            on_corrupted: Called on the thread.

        Raises:
            SpoolUnavailableError: No thread can be started.
        """
        self.claim = claim
        self._on_changed = on_changed
        self._on_confirmed = on_confirmed
        self.usage = EMPTY
        self.is_open = False
        self.is_full = False
        self.is_failing = False
        self._removed_at_end = False
        self._held: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox()
        self._executor = Executor(claim, directory, on_corrupted=on_corrupted)
        self._busy_since_s = time.monotonic()
        self._begun = asyncio.Event()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        start_thread(self._run_thread, name=claim.path.name)

    @property
    def sendable_events(self) -> int:
        """The number of events that are not being published."""
        return self.usage.events - len(self._held)

    @property
    def is_drained(self) -> bool:
        """Whether it certainly contains no event, except those that are set aside."""
        return self.is_open and self.usage.events == 0 and not self._held

    @property
    def is_empty(self) -> bool:
        """Whether it certainly contains no event."""
        return self.is_drained and self.usage.set_aside == 0

    @property
    def is_stuck(self) -> bool:
        """Whether the present work on the disk takes longer than `ANSWER_WITHIN_S`."""
        return time.monotonic() - self._busy_since_s > ANSWER_WITHIN_S

    async def opened(self) -> None:
        """Wait until the file is open, or has failed to open for the first time."""
        await self._begun.wait()

    async def put(self, record: Record, *, unresolved: Unresolved | None = None) -> None:
        """Keep an event durably. Its row is held while `unresolved` is unresolved.

        Raises:
            SpoolFullError: There is no room.
            SpoolUnavailableError: The disk fails, or does not answer in time. An event that is stored after that time
                is deleted again: its sender was answered 503 and repeats it.
        """
        if self._ended.done():
            raise SpoolUnavailableError("the spool file is closed")
        if self.is_stuck:
            raise _unanswered()
        put = Put(record=record, unresolved=unresolved, done=self._loop.create_future())
        self._inbox.add(puts=[put])
        await asyncio.wait({put.done}, timeout=ANSWER_WITHIN_S)
        if not put.done.done():
            put.done.cancel()
            self._inbox.withdraw(put)
            raise _unanswered()
        put.done.result()

    async def read(self, *, after: int) -> list[Row]:
        """Read the next rows that are not held, in order and within bounds of events and bytes."""
        if self._ended.done():
            return []
        read = Read(after=after, done=self._loop.create_future())
        self._inbox.add(reads=[read])
        return await read.done

    def hold(self, seq: int, unresolved: Unresolved) -> None:
        """Hold a row until its publish is resolved: a confirm deletes it, otherwise `read` returns it again."""
        self._held.add(seq)
        unresolved.on_resolved(partial(self._resolved, seq, unresolved))

    def set_aside(self, seq: int) -> None:
        """Skip a row in `read` until `readmit` or the next start. It stays in the file."""
        self._held.add(seq)  # a read that has begun already would return it otherwise
        self._inbox.add(asides={seq})

    def readmit(self) -> None:
        """Let `read` return the rows again that were set aside."""
        self._inbox.add(readmits=True)

    async def until_resolved(self) -> None:
        """Wait until no publish of its events is unresolved."""
        while True:
            if not self._held:
                return
            await asyncio.sleep(RESOLVE_POLL_S)

    async def until_failed(self) -> None:
        """Wait until the file is closed, or raise the unexpected error that has ended its thread."""
        await asyncio.shield(self._ended)

    async def close(self, *, remove: bool = False) -> bool:
        """Finish the requested work, close the file, and release or remove it; False if the disk does not answer."""
        self._removed_at_end = remove
        self._inbox.add(closing=True)
        done, _ = await asyncio.wait({self._ended}, timeout=ANSWER_WITHIN_S)
        if not done:
            log.error("spool.not_closed", file=self.claim.path.name, reason="the disk does not answer")
        return bool(done)

    def _resolved(self, seq: int, publication: Unresolved) -> None:
        if publication.is_confirmed:
            self._on_confirmed()
            self._inbox.add(deletes={seq})  # held until it is deleted, because a read in progress may return it
        else:
            self._held.discard(seq)

    def _run_thread(self) -> None:
        """Do all work on the disk, on a thread of its own, until the file is closed."""
        problem: Exception | None = None
        try:
            self._do(Work())  # opens the file and measures it, before the first work arrives
            while not (work := self._inbox.take(timeout_s=LOOK_EVERY_S)).closing:
                self._do(work)
            self._do(work)
        except Exception as error:  # noqa: BLE001 - the outermost guard of the thread: `until_failed` raises it
            problem = error
        finally:
            self._executor.close()
            with suppress(OSError):  # the lock ends with the process at the latest
                self.claim.remove() if self._removed_at_end else self.claim.release()
        call_on_loop(self._loop, partial(self._end, problem))

    def _do(self, work: Work) -> None:
        # The event loop reads `_busy_since_s` without a lock: one assignment is atomic, and `is_stuck` needs no more.
        self._busy_since_s = time.monotonic()
        report = self._executor.do(work)
        self._busy_since_s = math.inf
        call_on_loop(self._loop, partial(self._take, report))

    def _take(self, report: Report) -> None:
        # The order matters, because one report may contain the write and a read of the same row. First the holds are
        # set, so that the read omits a row with an unresolved publish. The holds of deleted rows are dropped last.
        for put, seq in report.stored:
            if put.done.cancelled():  # stored too late: its sender was answered 503 and repeats the event
                self._held.add(seq)
                self._inbox.add(deletes={seq})
                continue
            if put.unresolved is not None:
                self.hold(seq, put.unresolved)
            if not put.done.done():
                put.done.set_result(None)
        for put, error in report.refused:
            if not put.done.done():
                put.done.set_exception(error)
        for read, rows in report.read:
            if not read.done.done():
                read.done.set_result([row for row in rows if row.seq not in self._held])
        self._held -= report.deleted | report.set_aside
        self.usage, self.is_open = report.usage, report.is_open
        self.is_full, self.is_failing = report.is_full, report.is_failing
        self._begun.set()
        self._on_changed()

    def _end(self, problem: Exception | None) -> None:
        self._begun.set()
        late = self._inbox.take(timeout_s=0)
        for put in late.puts:
            if not put.done.done():
                put.done.set_exception(SpoolUnavailableError("the spool file is closed"))
        for read in late.reads:
            if not read.done.done():
                read.done.set_result([])
        if problem is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(problem)


def _unanswered() -> SpoolUnavailableError:
    return SpoolUnavailableError(f"the disk has not answered within {ANSWER_WITHIN_S:g} s")
