"""The tables of one purpose in the schema `eventflow`: their version, and the steps to the version of this program."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from eventflow.errors import EventFlowError
from eventflow.migration import Migration, mismatch_of
from eventflow.postgres.connection import Connection

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('eventflow.migrate'))"

# A query of the catalog. A function such as `to_regclass` looks into a cache, which inside a transaction may lack the
# tables that another process has made meanwhile.
_HAS_VERSIONS = """
    SELECT EXISTS (
        SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'eventflow' AND relname = $1
    )
"""

_MAY_MIGRATE = """
    SELECT coalesce(
        (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'eventflow'),
        has_database_privilege(current_database(), 'CREATE')
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables of one purpose, with steps of their own. Several can share a database.

    Attributes:
        title: Name in messages: `the schema of the history`.
        versions: The table with the steps that were made.
        migrations: The n-th brings the tables to version n.
        command: The command that makes the missing steps.
        error: Raised if the tables are not of the version of this program.
    """

    title: str
    versions: str
    migrations: Sequence[Migration]
    command: str
    error: type[EventFlowError]

    async def version(self, connection: Connection) -> int:
        """Return the version of the tables; 0 if there are none.

        Raises:
            EventFlowError: The role may not use the schema; it is of the type in `error`.
        """
        if not await connection.fetchval(_HAS_VERSIONS, self.versions):
            return 0
        try:
            query = f"SELECT coalesce(max(version), 0) FROM eventflow.{self.versions}"  # noqa: S608 - our own name
            return int(await connection.fetchval(query))
        except asyncpg.InsufficientPrivilegeError as error:
            raise self.error(f"the role may not use {self.title}: {error}") from error

    async def migrate(self, connection: Connection) -> Sequence[str]:
        """Make the steps that are missing, in the transaction that is open; return their names.

        Raises:
            EventFlowError: The tables are of a later version; it is of the type in `error`.
        """
        # The lock ends with the transaction. Behind PgBouncer, a lock of a session could stay with another client.
        await connection.execute(_LOCK)
        version = await self.version(connection)
        if version > len(self.migrations):
            raise self.error(self.mismatch(version))
        steps = self.migrations[version:]
        for step in steps:
            await connection.execute(step.sql)  # it also adds its row to the versions, as for an administrator
        return [step.name for step in steps]

    async def require(self, connection: Connection) -> None:
        """Check that the tables have the version of this program; migrate older ones if the role may do this.

        Raises:
            EventFlowError: They have another version; it is of the type in `error` and has the command to run.
        """
        version = await self.version(connection)
        if version == len(self.migrations):
            return
        if version > len(self.migrations) or not await connection.fetchval(_MAY_MIGRATE):
            raise self.error(self.mismatch(version))
        async with connection.transaction():
            await self.migrate(connection)

    def mismatch(self, version: int) -> str | None:
        """Return a sentence about a version that is not the one of this program; None if it is."""
        return mismatch_of(version, needed=len(self.migrations), title=self.title, command=self.command)
