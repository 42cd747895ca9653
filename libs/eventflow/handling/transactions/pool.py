"""Transactions over connections of asyncpg, for `async` functions with a `database_url`."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import asyncpg
from asyncpg.transaction import Transaction as DriverTransaction
from typing_extensions import override

from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key
from eventflow.handling.transactions.port import (
    AbortedTransactionError,
    EndedTransactionError,
    Transaction,
    Transactions,
)
from eventflow.handling.transactions.statements import Limits, claim_with, translated
from eventflow.outbox.row import insert_with, row_of
from eventflow.postgres.connection import CONNECT_MAX_S

END_MAX_S = 2.0
"""Longest time for a ROLLBACK. After it the connection is given up."""

IDLE_MAX_S = 60.0
"""Time without a use after which a connection is closed. Firewalls and load balancers forget idle connections."""

STATEMENTS_MAX = 100
"""Prepared statements of a connection. The one that was not used for the longest time makes room."""

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_INSERT = insert_with("${number}")


class _Connection(asyncpg.Connection):
    """A connection that needs no round trip between two transactions, and knows how a COMMIT has ended."""

    status = ""

    @override
    def get_reset_query(self) -> str:
        return ""  # each transaction sets its limits for itself alone

    @override
    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        self.status = await super().execute(query, *args, timeout=timeout)
        return self.status


class PoolTransactions(Transactions):
    """A pool with one connection for each call of the function at a time. Each is opened when it is needed."""

    def __init__(self, pool: Pool, *, limits: Limits) -> None:
        """Use a pool of `open_pool`."""
        self._pool = pool
        self._claim = claim_with(("$1", "$2", "$3"), limits)

    @override
    async def begin(self) -> "PoolTransaction":
        try:
            connection = await self._pool.acquire()
        except Exception as error:
            raise translated(error) from error
        begun = connection.transaction()
        try:
            await begun.start()
        except BaseException as error:
            with suppress(asyncpg.InterfaceError):  # it is closed already, and so no longer of the pool
                connection.terminate()  # this also returns it to the pool
            if isinstance(error, Exception):
                raise translated(error) from error
            raise
        return PoolTransaction(self._pool, connection, begun, self._claim)

    @override
    async def close(self) -> None:
        self._pool.terminate()


async def open_pool(url: str, *, connections_max: int, prepares: bool, application: str) -> Pool:
    """Prepare a pool, which connects when it is used.

    Args:
        url: A `postgresql://` URL.
        connections_max: Most connections.
        prepares: Whether statements stay prepared. PgBouncer may give each transaction to another connection, which
            does not know them.
        application: Their name in `pg_stat_activity`.
    """
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=connections_max,
        max_inactive_connection_lifetime=IDLE_MAX_S,
        timeout=CONNECT_MAX_S,
        connection_class=_Connection,
        statement_cache_size=STATEMENTS_MAX if prepares else 0,
        server_settings={"application_name": application},
    )


class PoolTransaction(Transaction):
    """A transaction; nested ones of the function are savepoints in it."""

    def __init__(self, pool: Pool, connection: Any, begun: DriverTransaction, claim: str) -> None:
        self.db = connection
        self._pool = pool
        self._begun = begun
        self._claim = claim
        self._is_committed = False

    @override
    async def claim(self, key: Key) -> bool:
        try:
            return await self.db.fetchval(self._claim, *key) is not None
        except Exception as error:
            raise translated(error) from error

    @override
    async def put(self, events: Sequence[DerivedEvent]) -> None:
        if not self.db.is_in_transaction():
            raise EndedTransactionError
        if events:
            await self.db.executemany(_INSERT, [tuple(row_of(each, flow=each.flow).values()) for each in events])

    @override
    async def commit(self) -> None:
        await self._begun.commit()
        self._is_committed = True
        if self.db.status != "COMMIT":  # in an aborted transaction, it is a ROLLBACK without an error
            raise AbortedTransactionError

    @override
    async def end(self) -> None:
        try:
            async with asyncio.timeout(END_MAX_S):
                if not self._is_committed and not self.is_lost():
                    await self._begun.rollback()
                await self._pool.release(self.db)
        except BaseException as error:
            with suppress(asyncpg.InterfaceError):  # it is closed already, and so no longer of the pool
                self.db.terminate()
            if not isinstance(error, Exception):
                raise

    @override
    def is_lost(self) -> bool:
        try:
            return bool(self.db.is_closed())
        except asyncpg.InterfaceError:  # the pool takes a connection that is closed back at once
            return True
