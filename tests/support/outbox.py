"""The outbox of a test: its tables, rows of any program, and what has arrived of them."""

from collections import Counter
from typing import Any

import asyncpg

from eventflow.database.connections import connections_to
from eventflow.database.schema import DATABASE
from eventflow.postgres.connections import MIGRATING
from eventflow.topology import Lane, lane_queue
from tests.support.amqp import Amqp
from tests.support.databases import connected, fetch
from tests.support.wait import eventually


async def make_outbox(database: str) -> None:
    """Make inbox and outbox in an empty database."""
    connections = connections_to(database, application="test")
    async with connections.separate(MIGRATING) as connection:
        await DATABASE.migrate(connection)
    await connections.close()


async def insert_rows(connection: "asyncpg.Connection[Any]", ids: list[str], **columns: object) -> None:
    """Insert rows as a program without our library does, in the transaction that is open."""
    columns = {"type": "order.paid", "body": b"{}", **columns}
    names = ", ".join(columns)
    values = ", ".join(f"${number}" for number in range(2, len(columns) + 2))
    await connection.execute(
        f"INSERT INTO eventflow.outbox (id, {names}) SELECT id, {values} FROM unnest($1::text[]) AS given (id)",
        ids,
        *columns.values(),
    )


async def put_rows(database: str, ids: list[str], **columns: object) -> None:
    """Insert committed rows."""
    async with connected(database) as connection:
        await insert_rows(connection, ids, **columns)


async def outbox_of(database: str) -> list[asyncpg.Record]:
    """Return the rows of the outbox, the oldest first."""
    return await fetch(database, "SELECT * FROM eventflow.outbox ORDER BY number")


async def arrived(amqp: Amqp, flow: str) -> Counter[str]:
    """Take all events out of the queue of a flow; return how often each id was there."""
    return Counter(str(message.headers["cloudEvents:id"]) for message in await amqp.drain(lane_queue(flow, Lane.LIVE)))


async def until_empty(database: str, *, within_s: float = 20.0) -> None:
    """Wait until every row is published and deleted."""

    async def is_empty() -> bool:
        return await outbox_of(database) == []

    await eventually(is_empty, within_s=within_s, what="an empty outbox")


def ids(count: int, prefix: str = "e") -> list[str]:
    """Return ids of events."""
    return [f"{prefix}-{number}" for number in range(count)]
