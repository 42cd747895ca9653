"""Connections to PostgreSQL, opened when needed and kept for the next transaction. Each wait is bounded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from eventflow.errors import EventFlowError
from eventflow.postgres.connection import Connection, connect, place_of
from eventflow.postgres.failures import FOREIGN_ERRORS, ClosedError

CONNECTIONS_MAX = 4
"""Connections at a time, so that a page with several queries waits for the slowest one only."""

IDLE_MAX_S = 60.0
"""Time without a use after which a connection is replaced. Firewalls and load balancers forget connections that carry
nothing, and then the next statement would wait for an answer that never comes."""

CLOSE_MAX_S = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of one transaction.

    Attributes:
        statement_s: Longest time for a statement; the server ends it.
        lock_s: Longest wait for a lock; the server ends it.
        total_s: Longest time in all. After it the connection is given up, for example because the server is frozen.
        is_reading: Whether the server is to refuse every change.
    """

    statement_s: float
    lock_s: float
    total_s: float
    is_reading: bool = False

    @property
    def begin(self) -> str:
        """The statements that begin a transaction with these limits.

        They hold for this transaction only. So they also hold behind PgBouncer, which gives each transaction to another
        connection and refuses unknown parameters of a connection.
        """
        return (
            f"BEGIN{' READ ONLY' if self.is_reading else ''};"
            f"SET LOCAL statement_timeout = {_milliseconds(self.statement_s)};"
            f"SET LOCAL lock_timeout = {_milliseconds(self.lock_s)};"
            f"SET LOCAL idle_in_transaction_session_timeout = {_milliseconds(self.total_s)};"
            # A query of many partitions looks expensive, and is not. To compile it, or to start processes for it, would
            # take longer than to run it.
            "SET LOCAL jit = off;"
            "SET LOCAL max_parallel_workers_per_gather = 0"
        )


MIGRATING = Bounds(statement_s=600.0, lock_s=5.0, total_s=620.0)


class Translate(Protocol):
    """Returns one of `FOREIGN_ERRORS` as an error of Event Flow, without the password and values of a row."""

    def __call__(self, error: Exception, *, place: str) -> EventFlowError:
        """Return the error; `place` is the name of the database in messages."""
        ...


class Connections:
    """The connections to one database. All errors of the driver are translated here."""

    def __init__(
        self,
        url: str,
        *,
        application: str,
        on_connect: Callable[[Connection], Awaitable[None]],
        translate: Translate,
    ) -> None:
        """Remember the address; nothing is connected yet.

        Args:
            url: A `postgresql://` URL; its `sslmode` selects TLS.
            application: Name of these connections in `pg_stat_activity`.
            on_connect: Called with each new connection before its first transaction.
            translate: Called with each error of the driver; its result is raised.
        """
        self._url = url
        self._application = application
        self._on_connect = on_connect
        self._translate = translate
        self._place = place_of(url)
        self._idle: list[tuple[float, Connection]] = []  # each with the time of its last use
        self._used: set[Connection] = set()
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        self._is_closed = False

    @asynccontextmanager
    async def transaction(self, bounds: Bounds) -> AsyncIterator[Connection]:
        """Run a transaction: commit it if the body returns, and abort it if the body raises.

        Raises:
            EventFlowError: The body or the connection failed; `translate` has made it.
        """
        with self._translating():
            async with asyncio.timeout(bounds.total_s), self._places:
                connection = self._idle_connection() or await self._connect()
                self._used.add(connection)
                try:
                    await connection.execute(bounds.begin)
                    yield connection
                    await connection.execute("COMMIT")
                except BaseException:
                    connection.terminate()  # a ROLLBACK might have to wait too
                    raise
                finally:
                    self._used.discard(connection)
                self._keep(connection)

    @asynccontextmanager
    async def separate(self, bounds: Bounds) -> AsyncIterator[Connection]:
        """Open a connection for work that does not depend on the schema; close it afterwards.

        Raises:
            EventFlowError: The body or the connection failed; `translate` has made it.
        """
        with self._translating():
            async with asyncio.timeout(bounds.total_s):
                connection = await self._open()
                try:
                    await connection.execute(bounds.begin)
                    yield connection
                    await connection.execute("COMMIT")
                    await connection.close()
                finally:
                    connection.terminate()

    async def close(self) -> None:
        """Close all connections within a second."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in list(self._used):
            connection.terminate()
        for _, connection in idle:
            with suppress(*FOREIGN_ERRORS):
                async with asyncio.timeout(CLOSE_MAX_S / CONNECTIONS_MAX):
                    await connection.close()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except FOREIGN_ERRORS as error:
            raise self._translate(error, place=self._place) from error

    def _idle_connection(self) -> "Connection | None":
        """Return the connection that was used last; those that are closed or too old are given up."""
        while self._idle:
            used_s, connection = self._idle.pop()
            if not connection.is_closed() and _now_s() - used_s < IDLE_MAX_S:
                return connection
            connection.terminate()
        return None

    def _keep(self, connection: Connection) -> None:
        if self._is_closed:
            connection.terminate()
        else:
            self._idle.append((_now_s(), connection))

    async def _connect(self) -> Connection:
        """Open a connection, and prepare it for transactions."""
        connection = await self._open()
        try:
            await self._on_connect(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _open(self) -> Connection:
        if self._is_closed:
            raise ClosedError
        return await connect(self._url, application=self._application)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
