"""The schema `eventflow`: its version, and the steps that bring it to the version of this program."""

from collections.abc import Sequence

import asyncpg

from eventflow.errors import HistorySchemaError
from eventflow.history.postgres.connections import Connection
from eventflow.history.postgres.failures import MIGRATE_COMMAND
from eventflow.history.postgres.migrations import MIGRATIONS

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('eventflow.migrate'))"

# A query of the catalog. A function such as `to_regclass` looks into a cache, which inside a transaction may lack the
# tables that another process has made meanwhile.
_HAS_VERSIONS = """
    SELECT EXISTS (
        SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'eventflow' AND relname = 'versions'
    )
"""

_MAY_MIGRATE = """
    SELECT coalesce(
        (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'eventflow'),
        has_database_privilege(current_database(), 'CREATE')
    )
"""


async def version_of(connection: Connection) -> int:
    """Return the version of the schema; 0 if there is none.

    Raises:
        HistorySchemaError: The role may not use the schema.
    """
    if not await connection.fetchval(_HAS_VERSIONS):
        return 0
    try:
        return int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM eventflow.versions"))
    except asyncpg.InsufficientPrivilegeError as error:
        raise HistorySchemaError(f"the role may not use the schema of the history: {error}") from error


async def migrate(connection: Connection) -> Sequence[str]:
    """Run the steps that are missing, in the transaction that is open; return their names.

    Raises:
        HistorySchemaError: The schema is of a later version.
    """
    # The lock ends with the transaction. Behind PgBouncer, a lock of a session could stay with another client.
    await connection.execute(_LOCK)
    version = await version_of(connection)
    if version > len(MIGRATIONS):
        raise HistorySchemaError(mismatch_of(version))
    steps = MIGRATIONS[version:]
    for step in steps:
        await connection.execute(step.sql)  # it also adds its row to `versions`, as it does for an administrator
    return [step.name for step in steps]


async def require(connection: Connection) -> None:
    """Check that the schema has the version of this program; migrate it if it is older and the role may do this.

    Raises:
        HistorySchemaError: It has another version; the message has the command to run.
    """
    version = await version_of(connection)
    if version == len(MIGRATIONS):
        return
    if version > len(MIGRATIONS) or not await connection.fetchval(_MAY_MIGRATE):
        raise HistorySchemaError(mismatch_of(version))
    async with connection.transaction():
        await migrate(connection)


def mismatch_of(version: int) -> str | None:
    """Return a sentence about a version that is not the one of this program; None if it is."""
    if version == len(MIGRATIONS):
        return None
    if version > len(MIGRATIONS):
        return f"the schema of the history is of version {version}, later than {len(MIGRATIONS)}: update Event Flow"
    state = f"is of version {version}, and {len(MIGRATIONS)} is needed" if version else "is missing"
    return f"the schema of the history {state}: run `{MIGRATE_COMMAND}` as the owner of the schema"
