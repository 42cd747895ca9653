"""One file of the spool: events in a SQLite database, in the order in which they came. Synchronous, for one thread.

SQLite's write-ahead log with `synchronous=FULL` makes a transaction durable by one fsync. SQLite does not notice bits
that have flipped within a row, so each row has a checksum.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eventflow.errors import EventFlowError
from eventflow.message import Message, new_message_id

APPLICATION_ID = 0x45_46_53_50
"""Marks the database file as ours: `EFSP`."""

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    accepted_at REAL NOT NULL,
    queue TEXT NOT NULL,
    headers TEXT NOT NULL,
    content_type TEXT,
    content_encoding TEXT,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
)
"""
JOURNAL_BYTES = 1024 * 1024
JOURNAL_PAGES = JOURNAL_BYTES // 4096
SHRINK_ABOVE_PAGES = 256
SALVAGE_FAILURES = 10_000

_PRIMARY_CODE = 0xFF  # of an SQLite result code; extended ones carry more above it


class SpoolError(EventFlowError):
    """The spool, or a file of it, cannot be used as asked."""


class SpoolFullError(SpoolError):
    """The spool, or the disk below it, has no room left."""


class SpoolUnavailableError(SpoolError):
    """The disk has failed an operation; the next one may succeed."""


class SpoolCorruptedError(SpoolError):
    """The content of the file differs from the written content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The stored form of an event: its message, and its queue."""

    queue: str
    message: Message
    accepted_at: datetime

    @property
    def size_bytes(self) -> int:
        """Approximate size in a file; `Usage` has the exact size of all records."""
        texts = (value for value in self.message.headers.values() if isinstance(value, str))
        return len(self.message.body) + 32 * len(self.message.headers) + sum(map(len, texts)) + 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record in the file. Its message has a fresh `message_id` each time that it is read."""

    seq: int
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The content of a file in figures.

    Attributes:
        events: Number of events, without those that are set aside.
        set_aside: Number of events that are too large for the broker, kept until its limit changes.
        size_bytes: Pages in use beyond those of an empty file; a file that was larger keeps free pages for later.
        oldest: Time of acceptance of the first event that is not set aside; None if there is none.
    """

    events: int
    set_aside: int
    size_bytes: int
    oldest: datetime | None


EMPTY = Usage(events=0, set_aside=0, size_bytes=0, oldest=None)


class Store:
    """An open file. The lock of its owner prevents its use by other processes."""

    def __init__(self, path: Path, *, first_seq: int = 1) -> None:
        """Open the file, or create it, readable by its owner only.

        Args:
            path: The database file.
            first_seq: The lowest number for new rows.

        Raises:
            SpoolCorruptedError: It is damaged, or not a spool file.
            SpoolFullError: There is no room even for an empty file.
            SpoolUnavailableError: It cannot be opened.
        """
        with _translated():
            _make_private(path)
            self._connection = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare()
                self._next_seq = max(first_seq, self._number("SELECT coalesce(max(seq), 0) FROM events") + 1)
                self._events = self._number("SELECT count(*) FROM events")
            except BaseException:
                self._connection.close()
                raise

    @property
    def next_seq(self) -> int:
        """The number that the next row gets."""
        return self._next_seq

    def apply(self, records: Sequence[Record], *, delete: Iterable[int] = ()) -> list[int]:
        """Add records and delete rows in one transaction, durable on return; return the numbers of the new rows.

        Raises:
            SpoolError: Nothing was changed.
        """
        first = self._next_seq
        rows = [_to_columns(seq, record) for seq, record in enumerate(records, first)]
        with _translated(), self._transaction():
            self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            deleted = self._connection.executemany("DELETE FROM events WHERE seq = ?", ((seq,) for seq in delete))
            gone = max(0, deleted.rowcount)  # -1 if there was nothing to delete
        self._next_seq += len(rows)
        self._events += len(rows) - gone
        return list(range(first, self._next_seq))

    def set_aside(self, seqs: Iterable[int]) -> None:
        """Skip rows in `read` until `readmit` or the next open. They stay in the file.

        Raises:
            SpoolError: They are still read.
        """
        with _translated():
            self._connection.executemany("INSERT OR IGNORE INTO temp.aside VALUES (?)", ((seq,) for seq in seqs))
            self._aside = self._number("SELECT count(*) FROM temp.aside")

    def set_unreadable_aside(self) -> list[int]:
        """Read each row once, and set aside those that differ from the written ones; return their numbers."""
        with _translated(), closing(self._connection.execute("SELECT seq FROM events ORDER BY seq")) as cursor:
            seqs = [seq for (seq,) in cursor]
        unreadable = [seq for seq in seqs if not self._is_readable(seq)]
        self.set_aside(unreadable)
        return unreadable

    def readmit(self) -> None:
        """Read all rows again."""
        with _translated():
            self._connection.execute("DELETE FROM temp.aside")
            self._aside = 0

    def read(self, *, after: int, max_events: int, max_bytes: int) -> list[Row]:
        """Read the rows above the number `after`, in order; if there is any, at least one of any size.

        Those that are set aside are skipped.

        Raises:
            SpoolCorruptedError: A row differs from the one that was written.
        """
        rows: list[Row] = []
        size_bytes = 0
        query = "SELECT * FROM events WHERE seq > ? AND seq NOT IN temp.aside ORDER BY seq LIMIT ?"
        # Closed in any case: a cursor that stays open keeps the file open and locked after `close`.
        with _translated(), closing(self._connection.execute(query, (after, max_events))) as cursor:
            for columns in cursor:
                row = _from_columns(columns)
                size_bytes += row.record.size_bytes
                if rows and size_bytes > max_bytes:
                    break
                rows.append(row)
        return rows

    def count_by_queue(self) -> dict[str, int]:
        """Count the rows of each queue, without those that are set aside."""
        query = "SELECT queue, count(*) FROM events WHERE seq NOT IN temp.aside GROUP BY queue ORDER BY queue"
        with _translated(), closing(self._connection.execute(query)) as cursor:
            return dict(cursor)

    def usage(self) -> Usage:
        """Measure the content of the file."""
        with _translated():
            query = "SELECT accepted_at FROM events WHERE seq NOT IN temp.aside ORDER BY seq LIMIT 1"
            oldest = self._connection.execute(query).fetchone()
            pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return Usage(
            events=self._events - self._aside,
            set_aside=self._aside,
            size_bytes=max(0, pages - self._empty_pages) * self._page_bytes,
            oldest=None if oldest is None else datetime.fromtimestamp(oldest[0], UTC),
        )

    def shrink(self) -> None:
        """Release the disk space of an empty file; a failure only postpones it."""
        with suppress(SpoolFullError, SpoolUnavailableError), _translated():
            if self._events == 0 and self._number("PRAGMA page_count") > SHRINK_ABOVE_PAGES:
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):  # all events were committed before
            self._connection.close()

    def _is_readable(self, seq: int) -> bool:
        try:
            with _translated():
                _from_columns(self._connection.execute("SELECT * FROM events WHERE seq = ?", (seq,)).fetchone())
        except SpoolCorruptedError:
            return False
        return True

    def _prepare(self) -> None:
        for pragma in (
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "synchronous=FULL",
            "fullfsync=ON",  # macOS: its plain fsync stops at the disk's cache
            "secure_delete=OFF",  # otherwise a deletion needs room, which a full disk lacks
            "temp_store=MEMORY",
            f"wal_autocheckpoint={JOURNAL_PAGES}",
            f"journal_size_limit={JOURNAL_BYTES}",
        ):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        if self._number("PRAGMA page_count") == 0 or self._is_blank():
            with self._transaction():
                self._connection.execute(SCHEMA)
                self._connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self._connection.execute("CREATE TEMP TABLE aside (seq INTEGER PRIMARY KEY)")  # in memory, until the next open
        self._aside = 0
        self._check()
        self._page_bytes = self._number("PRAGMA page_size")
        self._empty_pages = self._number("SELECT count(*) FROM sqlite_master") + 1  # a root page each, and the schema's

    def _is_blank(self) -> bool:
        return self._number("SELECT count(*) FROM sqlite_master") + self._number("PRAGMA application_id") == 0

    def _check(self) -> None:
        identity = self._number("PRAGMA application_id"), self._number("PRAGMA user_version")
        if identity != (APPLICATION_ID, SCHEMA_VERSION):
            raise SpoolCorruptedError(f"not a spool file of version {SCHEMA_VERSION}")
        [verdict] = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise SpoolCorruptedError(str(verdict).splitlines()[-1])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some errors have rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])


def salvage(path: Path) -> Iterator[Row]:
    """Read a corrupted file row by row, and skip rows that cannot be read.

    A damaged page costs the rows on it. The search ends after so many unreadable numbers in sequence that whole
    branches of the tree must be lost.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        seq, failures = 1, 0
        while failures < SALVAGE_FAILURES:
            try:
                columns = connection.execute("SELECT * FROM events WHERE seq >= ? LIMIT 1", (seq,)).fetchone()
                if columns is None:
                    return
                seq = columns[0]
                yield _from_columns(columns)
                failures = 0
            except SpoolCorruptedError:
                failures += 1
            except sqlite3.DatabaseError as error:
                if not _is_local(error):
                    return
                failures += 1
            seq += 1


def _to_columns(seq: int, record: Record) -> tuple[Any, ...]:
    message = record.message
    columns = (
        record.accepted_at.timestamp(),
        record.queue,
        json.dumps(dict(message.headers)),
        message.content_type,
        message.content_encoding,
    )
    return (seq, *columns, _checksum(columns, message.body), message.body)


def _from_columns(columns: tuple[Any, ...]) -> Row:
    seq, accepted_at, queue, headers, content_type, content_encoding, checksum, body = columns
    if _checksum(columns[1:6], body) != checksum:
        raise SpoolCorruptedError(f"the checksum of row {seq} is wrong")
    return Row(
        seq=seq,
        record=Record(
            queue=queue,
            accepted_at=datetime.fromtimestamp(accepted_at, UTC),
            message=Message(
                body=body,
                headers=json.loads(headers),
                content_type=content_type,
                content_encoding=content_encoding,
                message_id=new_message_id(),
            ),
        ),
    )


def _checksum(columns: Sequence[Any], body: object) -> int:
    if not isinstance(body, bytes):
        return -1
    return zlib.crc32(body, zlib.crc32(repr(tuple(columns)).encode()))


@contextmanager
def _translated() -> Iterator[None]:
    """Translate the errors of SQLite and of the operating system into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _kind_of(error)(str(error)) from error
    except OSError as error:
        raise SpoolUnavailableError(str(error)) from error


def _kind_of(error: sqlite3.DatabaseError) -> type[SpoolError]:
    match getattr(error, "sqlite_errorcode", None):
        case None:  # raised by Python's module itself: a text is not UTF-8
            return SpoolCorruptedError
        case int(code) if code & _PRIMARY_CODE in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return SpoolCorruptedError
        case int(code) if code & _PRIMARY_CODE == sqlite3.SQLITE_FULL:
            return SpoolFullError
        case _:
            return SpoolUnavailableError


def _is_local(error: sqlite3.DatabaseError) -> bool:
    """Whether an error may concern only the row that was read: a damaged page or an unreadable sector."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & _PRIMARY_CODE in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR}


def _make_private(path: Path) -> None:
    """Create the file before SQLite does, readable by its owner only; SQLite gives its journal the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
