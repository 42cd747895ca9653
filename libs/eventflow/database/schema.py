"""The tables inbox and outbox in the schema `eventflow`."""

from typing import Final

from eventflow.database.migrations import MIGRATIONS
from eventflow.errors import DatabaseSchemaError
from eventflow.postgres.schema import Schema

MIGRATE_COMMAND: Final = "eventflow database migrate"

DATABASE: Final = Schema(
    title="the schema of inbox and outbox",
    versions="database_versions",
    migrations=MIGRATIONS,
    command=MIGRATE_COMMAND,
    error=DatabaseSchemaError,
)
