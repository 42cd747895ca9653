"""The database file: opens connections to it, and brings its schema up to date. Synchronous."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from eventflow.errors import HistorySchemaError, HistoryUnavailableError
from eventflow.history.sqlite.failures import translated
from eventflow.history.sqlite.migrations import MIGRATIONS

APPLICATION_ID = 0x45_46_48_49
"""Marks the database file as a history: `EFHI`."""

LOCK_MAX_S = 2.0
"""Longest time to wait for the lock of another process. Transactions are short, also those of retention."""

LOG_BYTES = 4 * 1024 * 1024
"""Size of the write-ahead log after which SQLite moves it into the file. SQLite does not wait for readers to do so, so
the log grows while there is always an active reader."""

LOG_MAX_BYTES = 16 * LOG_BYTES
"""Growth of the log after which a writer waits for all readers once, at most `LOCK_MAX_S`, so that the log begins anew.
No query of ours takes longer. If another program reads for hours, the log grows, and a writer waits rarely."""

_PAGE_BYTES = 4096

_PROGRESS_STEPS = 4096  # instructions of SQLite's machine between two looks at the clock: about 0.1 ms


class HistoryFile:
    """The file, open for writing. For one thread."""

    def __init__(self, path: Path, *, min_free_bytes: int = 0) -> None:
        """Remember the path; the file is opened when it is needed.

        Args:
            path: The path.
            min_free_bytes: Room on its disk below which records are refused; 0 for no such limit.
        """
        self._path = path
        self._min_free_bytes = min_free_bytes
        self._log = Path(f"{path}-wal")
        self._log_limit_bytes = 0
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    @contextmanager
    def transaction(self, *, needs_room: bool = False) -> Iterator[sqlite3.Connection]:
        """Open the file if needed, and make a transaction that no other process interrupts.

        Args:
            needs_room: Whether it makes the file grow.

        Raises:
            HistoryError: Nothing was changed.
        """
        connection = self._opened()
        if needs_room and self._min_free_bytes:
            self._require_room()
        with self._closed_after_errors(), _transaction(connection):
            yield connection
        self._bound_log()

    def migrate(self) -> list[str]:
        """Open the file anew, and create it if needed; return the names of the migrations that were made.

        Raises:
            HistoryError: It cannot be opened.
        """
        return self._open()[1]

    def erase_log(self) -> None:
        """Move the write-ahead log into the file and empty it, so that it has nothing of deleted rows.

        While a reader is active, the log stays as it is.
        """
        if self._connection is not None:
            # The rows are deleted; at the latest, the log is emptied when all have closed it.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file, if it is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and _identity(self._path) == self._identity:
            return self._connection
        return self._open()[0]  # also if an operator has moved the file away or deleted it, to begin a new one

    def _open(self) -> tuple[sqlite3.Connection, list[str]]:
        self.close()
        with self._closed_after_errors():
            _make_private(self._path)
            self._connection = connection = _connect(self._path)
            made = _migrate(connection, self._path)
            for pragma in (
                "synchronous=NORMAL",  # a power cut may lose the last records, and does not damage the file
                "secure_delete=OFF",  # some builds of SQLite have it on, and then each deletion writes more pages
                f"wal_autocheckpoint={LOG_BYTES // _PAGE_BYTES}",
                f"journal_size_limit={LOG_BYTES}",
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            self._identity = _identity(self._path)
            self._log_limit_bytes = LOG_MAX_BYTES
        return connection, made

    def _require_room(self) -> None:
        with translated(self._path):
            disk = os.statvfs(self._path.parent)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes < self._min_free_bytes:
            raise HistoryUnavailableError(
                f"the disk of {self._path} has {free_bytes} bytes left, and EVENTFLOW_HISTORY__MIN_FREE_BYTES leaves "
                f"{self._min_free_bytes} bytes to other programs, such as RabbitMQ"
            )

    def _bound_log(self) -> None:
        if self._log_bytes > self._log_limit_bytes:
            self.erase_log()
            self._log_limit_bytes = self._log_bytes + LOG_MAX_BYTES

    @property
    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    @contextmanager
    def _closed_after_errors(self) -> Iterator[None]:
        """Close the file after an error, because a new connection is not affected by it."""
        try:
            with translated(self._path):
                yield
        except BaseException:
            self.close()
            raise


@contextmanager
def open_to_read(path: Path, *, within_s: float) -> Iterator[sqlite3.Connection]:
    """Open a file for some queries. They see one state of it, and wait for no writer.

    Raises:
        HistoryError: The file or its schema cannot be used, or the queries take too long.
    """
    with connected(path, within_s=within_s) as connection:
        version = version_of(connection, path)
        if version != len(MIGRATIONS):
            raise wrong_version(path, version)
        yield connection


@contextmanager
def connected(path: Path, *, within_s: float) -> Iterator[sqlite3.Connection]:
    """Open a file with any schema to read it.

    Raises:
        HistoryError: It cannot be read, or the queries take too long.
    """
    deadline_s = time.monotonic() + within_s
    with translated(path), closing(_connect_to_read(path)) as connection:
        connection.execute("PRAGMA query_only=ON").fetchall()
        connection.set_progress_handler(lambda: time.monotonic() > deadline_s, _PROGRESS_STEPS)
        connection.execute("BEGIN")
        yield connection


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the schema; 0 if the file is empty.

    Raises:
        HistorySchemaError: It is the database of another program.
    """
    [application_id] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application_id != APPLICATION_ID and (tables or application_id):
        raise HistorySchemaError(
            f"{path} is a database of another program; EVENTFLOW_HISTORY__URL must name another file"
        )
    return int(version)


def wrong_version(path: Path, version: int) -> HistorySchemaError:
    """Return the error for a schema of another version, with the remedy."""
    if version > len(MIGRATIONS):
        remedy = "a later version of Event Flow has changed it: upgrade this program"
    else:
        remedy = "run `eventflow history migrate`"
    return HistorySchemaError(
        f"the schema of {path} has version {version}, and version {len(MIGRATIONS)} is needed; {remedy}"
    )


def _connect(path: Path) -> sqlite3.Connection:
    """Connect to an existing file; `_make_private` creates it."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=LOCK_MAX_S)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise HistoryUnavailableError(f"there is no file {path} yet; a processor creates it when it starts")
    return _connect(path)


def _migrate(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Bring the schema to this version; return the names of the steps that were made."""
    version = version_of(connection, path)  # before any change: the file may belong to another program
    [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise HistoryUnavailableError(f"{path} cannot have a write-ahead log; SQLite requires a local file system")
    if version == len(MIGRATIONS):
        return []
    with _transaction(connection):
        version = version_of(connection, path)  # again: another process may have made the steps meanwhile
        if version > len(MIGRATIONS):
            raise wrong_version(path, version)
        missing = MIGRATIONS[version:]
        for migration in missing:
            for statement in _statements(migration.sql):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
    return [migration.name for migration in missing]


def _statements(sql: str) -> Iterator[str]:
    """Split a script, because `executescript` would commit the transaction."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # some errors have rolled it back already
            connection.execute("ROLLBACK")
        raise


def _make_private(path: Path) -> None:
    """Create the file before SQLite does, for its owner only. SQLite gives the write-ahead log the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
