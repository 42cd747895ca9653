"""A spool file in use. One thread for each file does all work on the disk; the event loop waits for futures.

Group commit: all work that is requested while the thread is busy shares the next transaction, and so one fsync.

A disk may hang, perhaps forever. In this case only the thread hangs: the event loop and the end of the process wait for
it in bounded time.
"""

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from eventflow.threads import call_on_loop
from eventflow_collector.spool.directory import Claim, SpoolDirectory
from eventflow_collector.spool.store import (
    EMPTY,
    Record,
    Row,
    SpoolCorruptedError,
    SpoolError,
    SpoolFullError,
    SpoolUnavailableError,
    Store,
    Usage,
    salvage,
)
from eventflow_collector.spool.thread import start_thread

BATCH_MAX_BYTES = 8 * 1024 * 1024
READ_MAX_EVENTS = 256
READ_MAX_BYTES = 4 * 1024 * 1024
SALVAGE_BATCH_EVENTS = 256
LOOK_EVERY_S = 1.0
"""Interval at which an idle thread measures the room again, and retries work that has failed."""

RESOLVE_POLL_S = 0.02
ANSWER_WITHIN_S = 2.0
"""Time that the disk may take for one piece of work. With a confirm timeout of 2 s, the sum stays below the 5 s after
which senders give up."""

FAILURE_COUNTS_S = 5.0
"""Time for which a file counts as full after it has failed, unless a lack of room is the reason."""

log = structlog.stdlib.get_logger()


class Unresolved(Protocol):
    """A publish that the broker may still confirm or refuse: `eventflow.amqp.publish_channel.Publication`."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed it."""
        ...

    def on_resolved(self, callback: Callable[[], None]) -> None:
        """Call back once, as soon as it is no longer unresolved."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Put:
    record: Record
    unresolved: Unresolved | None
    done: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Read:
    after: int
    done: "asyncio.Future[list[Row]]"


@dataclass(slots=True, kw_only=True)
class _Work:
    """Work that is requested and not done yet."""

    puts: list[_Put] = field(default_factory=list)
    deletes: set[int] = field(default_factory=set)
    asides: set[int] = field(default_factory=set)
    readmits: bool = False
    reads: list[_Read] = field(default_factory=list)
    closing: bool = False

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes or self.asides or self.readmits or self.reads or self.closing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """The results of some work, and the state of the file after it."""

    stored: Sequence[tuple[_Put, int]]
    refused: Sequence[tuple[_Put, SpoolError]]
    deleted: set[int]
    set_aside: set[int]
    read: Sequence[tuple[_Read, list[Row]]]
    usage: Usage
    is_open: bool
    is_full: bool
    is_failing: bool


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
        on_corrupted: Callable[[], None],
    ) -> None:
        """Start the thread, which opens the file or creates it.

        The thread also releases or removes the file when it is closed.

        Args:
            claim: The right to use the file.
            directory: Measures the room for it.
            on_changed: Called on the event loop after an update of `usage`, `is_open`, `is_full` and `is_failing`.
            on_corrupted: Called on the thread.

        Raises:
            SpoolUnavailableError: No thread can be started.
        """
        self.claim = claim
        self._on_changed = on_changed
        self.usage = EMPTY
        self.is_open = False
        self.is_full = False
        self.is_failing = False
        self._removed_at_end = False
        self._held: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._inbox = _Inbox()
        self._clerk = _Clerk(claim, directory, on_corrupted=on_corrupted)
        self._busy_since_s = time.monotonic()
        self._begun = asyncio.Event()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        start_thread(self._run_thread, name=claim.path.name)

    @property
    def sendable_events(self) -> int:
        """The number of events that are not being published."""
        return self.usage.events - len(self._held)

    @property
    def is_empty(self) -> bool:
        """Whether it certainly contains no event."""
        return self.is_open and self.usage.events + self.usage.set_aside == 0 and not self._held

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
        put = _Put(record=record, unresolved=unresolved, done=self._loop.create_future())
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
        read = _Read(after=after, done=self._loop.create_future())
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
            self._inbox.add(deletes={seq})  # held until it is deleted, because a read in progress may return it
        else:
            self._held.discard(seq)

    def _run_thread(self) -> None:
        """Do all work on the disk, on a thread of its own, until the file is closed."""
        problem: Exception | None = None
        try:
            self._do(_Work())  # opens the file and measures it, before the first work arrives
            while not (work := self._inbox.take(timeout_s=LOOK_EVERY_S)).closing:
                self._do(work)
            self._do(work)
        except Exception as error:  # noqa: BLE001 - the outermost guard of the thread: `until_failed` raises it
            problem = error
        finally:
            self._clerk.close()
            with suppress(OSError):  # the lock ends with the process at the latest
                self.claim.remove() if self._removed_at_end else self.claim.release()
        call_on_loop(self._loop, partial(self._end, problem))

    def _do(self, work: _Work) -> None:
        # The event loop reads `_busy_since_s` without a lock: one assignment is atomic, and `is_stuck` needs no more.
        self._busy_since_s = time.monotonic()
        report = self._clerk.do(work)
        self._busy_since_s = math.inf
        call_on_loop(self._loop, partial(self._take, report))

    def _take(self, report: _Report) -> None:
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


class _Inbox:
    """Collects work for the thread; all work that waits when the thread is free becomes one transaction."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending = _Work()

    def add(
        self,
        *,
        puts: Sequence[_Put] = (),
        deletes: set[int] | None = None,
        asides: set[int] | None = None,
        readmits: bool = False,
        reads: Sequence[_Read] = (),
        closing: bool = False,
    ) -> None:
        """Request work."""
        with self._changed:
            self._pending.puts += puts
            self._pending.deletes |= deletes or set()
            self._pending.asides |= asides or set()
            self._pending.readmits |= readmits
            self._pending.reads += reads
            self._pending.closing |= closing
            self._changed.notify()

    def withdraw(self, put: _Put) -> None:
        """Remove a put that has timed out, unless the thread has taken it already."""
        with self._changed, suppress(ValueError):
            self._pending.puts.remove(put)

    def take(self, *, timeout_s: float) -> _Work:
        """Wait for work and take it, with no more puts than fit into one transaction; after `timeout_s` it is empty."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._pending), timeout_s)
            taken, self._pending = self._pending, _Work()
            count = _leading(taken.puts)
            if count < len(taken.puts):
                # Closing waits for the remaining puts, because they were requested before it.
                self._pending = _Work(puts=taken.puts[count:], closing=taken.closing)
                taken.puts, taken.closing = taken.puts[:count], False
            return taken


def _unanswered() -> SpoolUnavailableError:
    return SpoolUnavailableError(f"the disk has not answered within {ANSWER_WITHIN_S:g} s")


def _leading(puts: Sequence[_Put]) -> int:
    """Count the puts for one transaction: at least one, and otherwise no more than BATCH_MAX_BYTES."""
    size_bytes = 0
    for count, put in enumerate(puts):
        size_bytes += put.record.size_bytes
        if count and size_bytes > BATCH_MAX_BYTES:
            return count
    return len(puts)


class _Clerk:
    """The thread's side: does the work, opens the file, and replaces it if it is corrupted.

    It never raises a `SpoolError`: each failure becomes a part of the report, and the next work tries again. Only the
    thread uses its attributes, and the event loop gets only reports, so no lock is needed.
    """

    def __init__(self, claim: Claim, directory: SpoolDirectory, *, on_corrupted: Callable[[], None]) -> None:
        self._claim = claim
        self._directory = directory
        self._on_corrupted = on_corrupted
        self._store: Store | None = None
        self._next_seq = 1
        self._usage = EMPTY
        self._undeleted: set[int] = set()
        self._refused_bytes = 0
        self._failed_at_s: float | None = None
        self._lacks_room_only = False

    def do(self, work: _Work) -> _Report:
        """Do all of the work; everything that is written shares one transaction."""
        self._undeleted |= work.deletes
        fitting, refused = self._room_for(work.puts)
        try:
            seqs, deleted = self._write([put.record for put in fitting])
        except SpoolError as error:
            # Deleting may succeed although storing has failed, for example on a full disk, and then makes room.
            seqs, deleted = [], self._delete_only() if fitting else set()
            refused += [(put, error) for put in fitting]
            self._failed(error)
        if seqs:
            self._refused_bytes, self._failed_at_s = 0, None
        return _Report(
            stored=list(zip(fitting, seqs, strict=False)),
            refused=refused,
            deleted=deleted,
            set_aside=self._set_aside(work),
            read=[(read, self._read(read.after)) for read in work.reads],
            usage=self._measure(),
            is_open=self._store is not None,
            is_full=self._is_full(),
            is_failing=self._failed_at_s is not None and not self._lacks_room_only,
        )

    def close(self) -> None:
        """Close the file if it is open."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _room_for(self, puts: Sequence[_Put]) -> tuple[list[_Put], list[tuple[_Put, SpoolError]]]:
        if not puts:
            return [], []
        room_bytes = self._room_bytes()
        fitting: list[_Put] = []
        refused: list[tuple[_Put, SpoolError]] = []
        for put in puts:
            if put.record.size_bytes <= room_bytes:
                room_bytes -= put.record.size_bytes
                fitting.append(put)
            else:
                self._refused_bytes = put.record.size_bytes
                refused.append((put, SpoolFullError("the spool is full")))
        return fitting, refused

    def _write(self, records: Sequence[Record]) -> tuple[list[int], set[int]]:
        """Store records and delete rows; return the numbers of the new rows and of the deleted ones."""
        deletes = self._undeleted
        try:
            seqs = self._opened().apply(records, delete=deletes) if records or deletes else []
        except SpoolCorruptedError as error:
            self._replace(error)
            seqs = self._opened().apply(records)  # the rows to delete were not copied to the new file
        self._undeleted = set()
        return seqs, deletes

    def _delete_only(self) -> set[int]:
        """Delete rows although nothing could be stored; rows that cannot be deleted stay held, and are tried again."""
        try:
            return self._write([])[1]
        except SpoolError:
            return set()

    def _set_aside(self, work: _Work) -> set[int]:
        """Set rows aside, or readmit all; return the rows that no longer need to be held.

        If this fails, the sender reads the rows again and sets them aside again.
        """
        try:
            if work.readmits:
                self._opened().readmit()
            if work.asides:
                self._opened().set_aside(work.asides)
        except SpoolError as error:
            self._failed(error)
        return work.asides

    def _read(self, after: int) -> list[Row]:
        try:
            return self._opened().read(after=after, max_events=READ_MAX_EVENTS, max_bytes=READ_MAX_BYTES)
        except SpoolCorruptedError as error:
            self._replace(error)
        except SpoolError as error:
            self._failed(error)
        return []

    def _measure(self) -> Usage:
        try:
            self._opened().shrink()
            self._usage = self._opened().usage()
            self._next_seq = self._opened().next_seq
        except SpoolCorruptedError as error:
            self._replace(error)
        except SpoolError as error:
            self._failed(error)
        return self._usage

    def _opened(self) -> Store:
        if self._store is None:
            try:
                self._store = Store(self._claim.path, first_seq=self._next_seq)
            except SpoolCorruptedError as error:
                self._replace(error)
        if self._store is None:
            self._store = Store(self._claim.path, first_seq=self._next_seq)
        return self._store

    def _replace(self, error: SpoolCorruptedError) -> None:
        """Move a corrupted file aside and open a new one; if even that fails, the next work tries again."""
        try:
            aside = self._claim.set_aside()
        except OSError as problem:
            self._failed(SpoolUnavailableError(f"cannot move the corrupted file aside: {problem}"))
            return
        self.close()  # after the move: SQLite deletes the journal by its name, which the new file will have
        self._usage = EMPTY
        recovered = self._take_over(aside)
        log.error(
            "spool.file_corrupted",
            file=self._claim.path.name,
            reason=str(error),
            moved_to=str(aside),
            recovered_events=recovered,
        )
        self._on_corrupted()

    def _take_over(self, aside: Path) -> int:
        """Copy the readable rows of a corrupted file into the new one while there is room; return their number."""
        recovered = 0
        rows = (row.record for row in salvage(aside) if row.seq not in self._undeleted)
        with suppress(SpoolError):
            self._store = Store(self._claim.path, first_seq=self._next_seq)
            while batch := list(itertools.islice(rows, SALVAGE_BATCH_EVENTS)):
                self._usage = self._store.usage()
                if sum(record.size_bytes for record in batch) > self._room_bytes():
                    break
                recovered += len(self._store.apply(batch))
        return recovered

    def _failed(self, error: SpoolError) -> None:
        """Treat the file as full for some seconds, and open it again unless a lack of room was the only reason."""
        if self._failed_at_s is None:
            log.error("spool.failed", file=self._claim.path.name, reason=str(error))
        self._failed_at_s = time.monotonic()
        self._lacks_room_only = isinstance(error, SpoolFullError)
        if not self._lacks_room_only:
            self.close()

    def _is_full(self) -> bool:
        if self._failed_at_s is not None and time.monotonic() - self._failed_at_s > FAILURE_COUNTS_S:
            self._failed_at_s = None
        return self._failed_at_s is not None or self._refused_bytes > self._room_bytes()

    def _room_bytes(self) -> int:
        return self._directory.room_bytes(self._claim.path, used_bytes=self._usage.size_bytes)
