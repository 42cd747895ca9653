"""The tables of the history in the schema `eventflow`."""

from typing import Final

from eventflow.errors import HistorySchemaError
from eventflow.history.postgres.failures import MIGRATE_COMMAND
from eventflow.history.postgres.migrations import MIGRATIONS
from eventflow.postgres.schema import Schema

HISTORY: Final = Schema(
    title="the schema of the history",
    versions="versions",
    migrations=MIGRATIONS,
    command=MIGRATE_COMMAND,
    error=HistorySchemaError,
)
