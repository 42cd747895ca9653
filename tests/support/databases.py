"""Databases of tests: an empty one for each, and private servers."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from sandbox.database.postgres import ServerError
from sandbox.database.server import PrivateServer
from tests.support.means import cannot


@contextmanager
def running_server(directory: Path, **options: Any) -> Iterator[PrivateServer]:
    """Run a server with its data in a directory, which is deleted at the end of the run; `options` are the server's."""
    try:
        server = PrivateServer(directory, **options)
    except ServerError as error:
        cannot(f"no PostgreSQL of our own: {error}")
    server.start()
    try:
        yield server
    finally:
        server.resume()
        server.stop()


@asynccontextmanager
async def empty_database(server_url: str, options: str = "") -> AsyncIterator[str]:
    """Yield the URL of a new database on a server; drop it at the end, with the connections to it."""
    name = f"t{secrets.token_hex(8)}"
    await execute(server_url, f"CREATE DATABASE {name} {options}")
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Yield a connection of any program."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


async def execute(url: str, sql: str, *arguments: object) -> None:
    """Run a statement on a connection of its own."""
    async with connected(url) as connection:
        await connection.execute(sql, *arguments)


async def fetch(url: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """Return the rows of a query on a connection of its own."""
    async with connected(url) as connection:
        return await connection.fetch(sql, *arguments)
