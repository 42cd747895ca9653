"""Transactions over psycopg, when the connection is lost within the function."""

import asyncio
import socket
from collections.abc import AsyncIterator

import psycopg
import pytest

from eventflow.database.schema import DATABASE
from eventflow.handling.transactions.driver import PREPARED_AFTER, PROBE_EVERY_S, DriverTransactions
from eventflow.handling.transactions.statements import Limits
from eventflow.postgres.connection import connect


@pytest.fixture
async def transactions(database: str) -> AsyncIterator[DriverTransactions]:
    connection = await connect(database, application="test")
    async with connection.transaction():
        await DATABASE.migrate(connection)
    await connection.close()
    opened = DriverTransactions(database, prepares=True, limits=Limits.of(5.0), application="test")
    yield opened
    opened.close()


async def test_a_lost_connection_is_no_commit_if_the_function_has_caught_its_error(
    transactions: DriverTransactions, database: str
) -> None:
    """A transaction of psycopg ends without an error if its connection is known to be lost."""

    def handle() -> None:
        transaction = transactions.begin()
        assert transaction.claim(("orders", "source", "a"))
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [transaction.db.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            transaction.db.execute("SELECT 1")  # a function may catch this, and return
        with pytest.raises(psycopg.OperationalError, match="the connection is lost"):
            transaction.put([])
        assert transaction.is_lost()
        transaction.end()
        again = transactions.begin()
        assert again.claim(("orders", "source", "a"))
        again.end()

    await asyncio.to_thread(handle)


async def test_a_host_that_vanishes_while_an_answer_is_awaited_is_noticed(transactions: DriverTransactions) -> None:
    def look() -> None:
        transaction = transactions.begin()
        with socket.socket(fileno=transaction.db.fileno()) as used:
            assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == PROBE_EVERY_S
            assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == PROBE_EVERY_S
            used.detach()
        transaction.end()

    await asyncio.to_thread(look)


async def test_a_statement_that_is_used_often_stays_prepared(transactions: DriverTransactions) -> None:
    def handle() -> None:
        for number in range(PREPARED_AFTER + 2):
            transaction = transactions.begin()
            assert transaction.claim(("orders", "source", str(number)))
            transaction.commit()
            transaction.end()
        transaction = transactions.begin()
        prepared = transaction.db.execute("SELECT statement FROM pg_prepared_statements").fetchall()
        assert any("eventflow.inbox" in statement for (statement,) in prepared)
        transaction.end()

    await asyncio.to_thread(handle)
