"""The state of inbox and outbox: their version, and the rights of a role."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from eventflow.database.rights import NEEDED, Use
from eventflow.database.schema import DATABASE
from eventflow.errors import DatabaseSchemaError
from eventflow.postgres.connection import Connection
from eventflow.postgres.connections import MIGRATING, Bounds, Connections

LOOKING: Final = Bounds(statement_s=4.0, lock_s=1.0, total_s=5.0, is_reading=True)
CHANGING: Final = Bounds(statement_s=4.0, lock_s=3.0, total_s=9.0)


_MISSING_RIGHTS: Final = """
    SELECT name || ' on ' || relation FROM unnest($1::text[], $2::text[]) AS needed (name, relation)
    WHERE NOT has_table_privilege('eventflow.' || relation, name)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReport:
    """The state of the tables in a database.

    Attributes:
        version: Version of the tables; 0 if there are none.
        expected_version: Version that this program needs.
        problems: Reasons why they cannot be used, for people.
    """

    version: int
    expected_version: int
    problems: Sequence[str] = ()


async def check(connections: Connections, uses: Collection[Use]) -> DatabaseReport:
    """Look at the version of the tables, and at the rights that the role needs for its uses.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    report = DatabaseReport(version=0, expected_version=len(DATABASE.migrations))
    async with connections.separate(LOOKING) as connection:
        try:
            version = await DATABASE.version(connection)
        except DatabaseSchemaError as error:
            return replace(report, problems=(str(error),))
        mismatch = DATABASE.mismatch(version)
        problems = await _missing_rights(connection, uses) if mismatch is None else [mismatch]
        return replace(report, version=version, problems=problems)


async def migrate(connections: Connections) -> Sequence[str]:
    """Make the steps that are missing, and return their names.

    Raises:
        DatabaseError: The database cannot be reached, or the role may not do this.
        DatabaseSchemaError: The tables are of a later version.
    """
    async with connections.separate(MIGRATING) as connection:
        return await DATABASE.migrate(connection)


async def _missing_rights(connection: Connection, uses: Collection[Use]) -> Sequence[str]:
    needed = [right for use in Use if use in uses for right in NEEDED[use]]
    rows = await connection.fetch(_MISSING_RIGHTS, [name for name, _ in needed], [relation for _, relation in needed])
    return [f"the role lacks these rights: {', '.join(right for (right,) in rows)}"] if rows else []
