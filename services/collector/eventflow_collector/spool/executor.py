"""The thread's side of a spool file: works on the disk, and makes each failure a part of its report."""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from eventflow.spool.claims import Claim
from eventflow.spool.store import (
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
from eventflow_collector.spool.directory import SpoolDirectory
from eventflow_collector.spool.work import Put, Report, Work

READ_MAX_EVENTS = 256
READ_MAX_BYTES = 4 * 1024 * 1024
SALVAGE_BATCH_EVENTS = 256

FAILURE_COUNTS_S = 5.0
"""Time for which a file counts as full after it has failed, unless a lack of room is the reason."""

log = structlog.stdlib.get_logger()


class Executor:
    """Does the requested work, opens the file, and replaces it if it is corrupted.

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

    def do(self, work: Work) -> Report:
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
        return Report(
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

    def _room_for(self, puts: Sequence[Put]) -> tuple[list[Put], list[tuple[Put, SpoolError]]]:
        if not puts:
            return [], []
        room_bytes = self._room_bytes()
        fitting: list[Put] = []
        refused: list[tuple[Put, SpoolError]] = []
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

    def _set_aside(self, work: Work) -> set[int]:
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
