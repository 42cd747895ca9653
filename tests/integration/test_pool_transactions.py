"""Transactions over a pool, when a connection is lost at a statement of ours."""

import asyncio

import pytest

from eventflow.database.schema import DATABASE
from eventflow.errors import DatabaseUnavailableError
from eventflow.handling.transactions.pool import PoolTransactions, open_pool
from eventflow.handling.transactions.statements import Limits
from eventflow.postgres.connection import connect
from tests.support.postgres_proxy import PostgresProxy
from tests.support.wait import eventually


async def handle_one(transactions: PoolTransactions, event_id: str) -> None:
    transaction = await transactions.begin()
    try:
        assert await transaction.claim(("orders", "source", event_id))
        await transaction.commit()
    finally:
        await transaction.end()


async def migrate(database: str) -> None:
    connection = await connect(database, application="test")
    async with connection.transaction():
        await DATABASE.migrate(connection)
    await connection.close()


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("statement", [b"BEGIN", b"INSERT INTO eventflow.inbox"])
async def test_a_connection_that_is_lost_before_the_function_shows_that_the_database_is_away(
    database: str, statement: bytes, answers: bool
) -> None:
    await migrate(database)
    async with PostgresProxy(database) as proxy:
        pool = await open_pool(proxy.url, connections_max=1, prepares=False, application="test")
        transactions = PoolTransactions(pool, limits=Limits.of(5.0))
        await handle_one(transactions, "a")
        with proxy.holding(statement, answers=answers) as hold:
            handling = asyncio.create_task(handle_one(transactions, "b"))
            await eventually(lambda: hold.count == 1, what=statement.decode())
            await proxy.cut()
            with pytest.raises(DatabaseUnavailableError):
                await handling
        await handle_one(transactions, "b")  # over a new connection, as there may be one
        await transactions.close()


@pytest.mark.parametrize("prepares", [False, True])
async def test_statements_stay_prepared_only_if_it_is_set(database: str, prepares: bool) -> None:
    await migrate(database)
    pool = await open_pool(database, connections_max=1, prepares=prepares, application="test")
    transactions = PoolTransactions(pool, limits=Limits.of(5.0))
    for event_id in ("a", "b"):
        await handle_one(transactions, event_id)
    connection = await pool.acquire()
    prepared = await connection.fetch("SELECT statement FROM pg_prepared_statements")
    assert any("eventflow.inbox" in row["statement"] for row in prepared) is prepares
    await pool.release(connection)
    await transactions.close()
