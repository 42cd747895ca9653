"""The errors of PostgreSQL and its driver."""

from typing import Final

import asyncpg

from eventflow.excerpt import excerpt_of
from eventflow.postgres.connection import UnusableUrlError


class ClosedError(Exception):
    """A connection was asked for after the end."""


FOREIGN_ERRORS: Final = (
    ClosedError,
    UnusableUrlError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # Raised in place of a connection error if the server has ended the connection while it was idle.
    asyncpg.InternalClientError,
    OSError,  # also a `TimeoutError`, and every error of TLS
    OverflowError,  # a value that does not fit its column, as a `ValueError` can be
    ValueError,
)
"""Errors of a connection and of every call on it."""


def answer_in(error: Exception) -> str:
    """Return the message of the server or the system. The driver's own messages can have parts of the URL or a row.

    PostgreSQL has the values of a row in the detail of an error, which is not in its message.
    """
    match error:
        case asyncpg.PostgresError():
            return f": {excerpt_of(error.message or '')}"
        case OSError() if text := excerpt_of(str(error)):
            return f": {text}"
        case _:
            return ""
