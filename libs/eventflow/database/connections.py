"""Connections to a database with inbox and outbox, and their errors as errors of Event Flow."""

import asyncpg

from eventflow.database.migrations import MIGRATE_COMMAND
from eventflow.database.schema import DATABASE
from eventflow.errors import DatabaseError, DatabaseSchemaError, DatabaseUnavailableError
from eventflow.postgres.connection import UnusableUrlError
from eventflow.postgres.connections import Connections
from eventflow.postgres.failures import ClosedError, answer_in


def connections_to(url: str, *, application: str) -> Connections:
    """Return connections to a database. Its first use migrates the schema if the role owns it, or may create it.

    Their errors are a `DatabaseError`.

    Args:
        url: A `postgresql://` URL; its `sslmode` selects TLS.
        application: Name of these connections in `pg_stat_activity`.
    """
    return Connections(url, application=application, on_connect=DATABASE.require, translate=translated)


def translated(error: Exception, *, place: str) -> DatabaseError:
    """Return an error of the driver as one of the database. No message has the password or a value of a row."""
    kind, words = _meaning_of(error)
    return kind(f"the database {place} {words}{answer_in(error)}")


def _meaning_of(error: Exception) -> tuple[type[DatabaseError], str]:
    match error:
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.InvalidSchemaNameError():
            return DatabaseSchemaError, f"has another schema than this program (run `{MIGRATE_COMMAND}`)"
        case asyncpg.InsufficientPrivilegeError():
            return DatabaseError, "does not give the role the rights that it needs"
        case asyncpg.DataError() | asyncpg.IntegrityConstraintViolationError():
            return DatabaseError, "does not accept a value"
        case _:
            return DatabaseUnavailableError, _obstacle_of(error)


def _obstacle_of(error: Exception) -> str:
    match error:
        case UnusableUrlError():
            return "has a URL that PostgreSQL does not understand: check its port and options"
        case ClosedError():
            return "is closed"
        case TimeoutError():
            return "does not answer in time"
        case _:
            return "cannot be used"
