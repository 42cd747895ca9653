"""The database that a `database_url` names, apart from the calls of the handler."""

from typing import Any

from typing_extensions import override

from eventflow.database.connections import connections_to
from eventflow.handling.transactions.port import Database
from eventflow.postgres.connections import Bounds

BOUNDS = Bounds(statement_s=10.0, lock_s=3.0, total_s=15.0)


class UrlDatabase(Database):
    """Connections of asyncpg, also for a handler that works with psycopg. Its first use migrates the schema."""

    def __init__(self, url: str, *, application: str) -> None:
        """Remember the address; nothing is connected yet."""
        self._connections = connections_to(url, application=application)

    @override
    async def require(self) -> None:
        async with self._connections.transaction(BOUNDS):
            pass  # each new connection is checked

    @override
    async def scalar(self, sql: str) -> Any:
        async with self._connections.transaction(BOUNDS) as connection:
            return await connection.fetchval(sql)

    @override
    async def close(self) -> None:
        await self._connections.close()
