"""The errors of SQLite and of the system, as errors of the history."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eventflow.errors import (
    HistoryError,
    HistoryLateError,
    HistoryRefusedError,
    HistorySchemaError,
    HistoryUnavailableError,
)

_REFUSALS = (
    sqlite3.IntegrityError,  # a value is missing
    sqlite3.InterfaceError,  # the type is none of SQLite's; from Python 3.12 on, a ProgrammingError
    sqlite3.ProgrammingError,
    sqlite3.DataError,  # too long
    OverflowError,  # an integer of more than 64 bits
    UnicodeEncodeError,  # a text that has no UTF-8
)

_RIGHTS = "{path} cannot be used: {error}; this user needs the right to write the file and its directory"
_LOCKED = "another process has locked {path} for too long"
_NOT_LOCAL = "{path}: {error}; SQLite requires a local file system"

_ERRORS: Mapping[int, tuple[type[HistoryError], str]] = {
    sqlite3.SQLITE_INTERRUPT: (HistoryLateError, "a query of {path} has taken too long and was ended"),
    sqlite3.SQLITE_NOTADB: (
        HistorySchemaError,
        "{path} is not a database; EVENTFLOW_HISTORY__URL must name another file",
    ),
    sqlite3.SQLITE_CORRUPT: (
        HistoryUnavailableError,
        "{path} is damaged: {error}; move it away, and the next batch creates a new one",
    ),
    sqlite3.SQLITE_FULL: (HistoryUnavailableError, "the disk of {path} is full"),
    sqlite3.SQLITE_BUSY: (HistoryUnavailableError, _LOCKED),
    sqlite3.SQLITE_LOCKED: (HistoryUnavailableError, _LOCKED),
    sqlite3.SQLITE_READONLY: (HistoryUnavailableError, _RIGHTS),
    sqlite3.SQLITE_CANTOPEN: (HistoryUnavailableError, _RIGHTS),
    sqlite3.SQLITE_PERM: (HistoryUnavailableError, _RIGHTS),
    sqlite3.SQLITE_IOERR: (HistoryUnavailableError, _NOT_LOCAL),
    sqlite3.SQLITE_PROTOCOL: (HistoryUnavailableError, _NOT_LOCAL),
    sqlite3.SQLITE_NOLFS: (HistoryUnavailableError, _NOT_LOCAL),
}
"""Our errors for the result codes of SQLite."""

_PRIMARY_CODE = 0xFF  # of an SQLite result code; extended ones have more above it


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate the errors of SQLite and of the operating system into ours."""
    try:
        yield
    except _REFUSALS as error:
        raise HistoryRefusedError(f"SQLite refuses a value: {error}") from error
    except sqlite3.Error as error:
        raise _translation(error, path) from error
    except OSError as error:
        raise HistoryUnavailableError(f"{path} cannot be opened: {error.strerror or error}") from error


def _translation(error: sqlite3.Error, path: Path) -> HistoryError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
    kind, words = _ERRORS.get(code, (HistoryUnavailableError, "{path}: {error}"))
    return kind(words.format(path=path, error=error))
