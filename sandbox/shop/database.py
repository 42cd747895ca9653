"""The database of the shop."""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from eventflow.postgres.connection import connect


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """Orders in the database.

    Attributes:
        orders: Number of orders of a selection that are booked.
        doubles: Bookings of them beyond the first of each.
    """

    orders: int
    doubles: int


@contextmanager
def database_of_shop(server_url: str, schema: Path) -> Iterator[str]:
    """Yield the URL of a new database with the tables of the shop, and remove the database at the end."""
    name = f"shop_{secrets.token_hex(4)}"
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    asyncio.run(_execute(server_url, f"CREATE DATABASE {name}"))
    try:
        asyncio.run(_execute(url, schema.read_text(encoding="utf-8")))
        yield url
    finally:
        asyncio.run(_execute(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def booked_in(url: str, references: Sequence[str]) -> Booked:
    """Count the bookings of orders."""
    connection = await connect(url, application="shop")
    try:
        [row] = await connection.fetch(
            "SELECT count(DISTINCT reference) AS orders, count(*) AS bookings FROM orders WHERE reference = ANY($1)",
            references,
        )
    finally:
        await connection.close()
    return Booked(orders=row["orders"], doubles=row["bookings"] - row["orders"])


async def _execute(url: str, sql: str) -> None:
    connection = await connect(url, application="shop")
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
