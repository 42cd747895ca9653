"""The tables inbox and outbox in the schema `eventflow`."""

from typing import Final

from eventflow.database.migrations import MIGRATE_COMMAND, MIGRATIONS, TITLE
from eventflow.errors import DatabaseSchemaError
from eventflow.postgres.schema import Schema

DATABASE: Final = Schema(
    title=TITLE,
    versions="database_versions",
    migrations=MIGRATIONS,
    command=MIGRATE_COMMAND,
    error=DatabaseSchemaError,
)
