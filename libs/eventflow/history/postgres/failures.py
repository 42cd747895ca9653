"""The errors of PostgreSQL and its driver, as errors of the history."""

from typing import Final

import asyncpg

from eventflow.errors import (
    HistoryError,
    HistoryLateError,
    HistoryRefusedError,
    HistorySchemaError,
    HistoryUnavailableError,
)
from eventflow.postgres.connection import UnusableUrlError
from eventflow.postgres.failures import ClosedError, answer_in

MIGRATE_COMMAND: Final = "eventflow history migrate"


class MissingDayError(HistoryRefusedError):
    """No partition has the day of a row."""


class LockedError(HistoryUnavailableError):
    """A lock was not free in time."""


_DOES_NOT_FIT: Final = "does not accept a row, because a value does not fit its column"
_SCHEMA_DIFFERS: Final = f"has another schema than this program (run `{MIGRATE_COMMAND}`)"
_OTHER: Final = (HistoryUnavailableError, "cannot be used")

_MEANINGS: Final[dict[type[Exception], tuple[type[HistoryError], str]]] = {
    asyncpg.QueryCanceledError: (HistoryLateError, "ended a query that took too long"),
    asyncpg.LockNotAvailableError: (LockedError, "is locked"),
    # Also the error for a row that no partition accepts. The tables have no check of their own.
    asyncpg.CheckViolationError: (MissingDayError, "has no partition for the day of an attempt"),
    asyncpg.IntegrityConstraintViolationError: (HistoryRefusedError, "does not accept a row"),
    asyncpg.DataError: (HistoryRefusedError, _DOES_NOT_FIT),
    asyncpg.UndefinedTableError: (HistorySchemaError, _SCHEMA_DIFFERS),
    asyncpg.UndefinedColumnError: (HistorySchemaError, _SCHEMA_DIFFERS),
    asyncpg.UndefinedFunctionError: (HistorySchemaError, _SCHEMA_DIFFERS),
    asyncpg.InvalidSchemaNameError: (HistorySchemaError, _SCHEMA_DIFFERS),
    UnusableUrlError: (HistoryUnavailableError, "cannot be reached, because PostgreSQL does not understand its URL"),
    ClosedError: (HistoryUnavailableError, "is closed"),
    TimeoutError: (HistoryUnavailableError, "does not answer in time"),
    OSError: _OTHER,  # before `ValueError`: a certificate that is not trusted is both
    OverflowError: (HistoryRefusedError, _DOES_NOT_FIT),
    ValueError: (HistoryRefusedError, _DOES_NOT_FIT),
}
"""Meanings of errors, the special ones first. Any other error may be gone at the next try."""


def translated(error: Exception, *, place: str) -> HistoryError:
    """Return an error of the driver as one of the history. No message has the password or a value of a row.

    Args:
        error: One of `FOREIGN_ERRORS`.
        place: Name of the store in messages.
    """
    meanings = (meaning for kind, meaning in _MEANINGS.items() if isinstance(error, kind))
    kind, words = next(meanings, _OTHER)
    return kind(f"the history in {place} {words}{answer_in(error)}")
