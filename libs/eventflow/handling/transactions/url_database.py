"""The database that a `database_url` names, apart from the calls of the handler."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from typing_extensions import override

from eventflow.database.schema import DATABASE
from eventflow.errors import DatabaseUnavailableError
from eventflow.handling.transactions.port import Database
from eventflow.handling.transactions.statements import words_of
from eventflow.postgres.connection import Connection, UnusableUrlError, connect, place_of


class UrlDatabase(Database):
    """A connection of asyncpg for each request, because there are few of them."""

    def __init__(self, url: str, *, application: str) -> None:
        self._url = url
        self._application = application

    @override
    async def require(self) -> None:
        async with self._connected() as connection:
            await DATABASE.require(connection)

    @override
    async def scalar(self, sql: str) -> Any:
        async with self._connected() as connection:
            return await connection.fetchval(sql)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        try:
            connection = await connect(self._url, application=self._application)
            try:
                yield connection
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            raise DatabaseUnavailableError(f"{place_of(self._url)}: {words_of(error)}") from error
        except UnusableUrlError as error:
            raise DatabaseUnavailableError(str(error)) from None
