"""Transactions over connections of psycopg 3, for functions on threads with a `database_url`."""

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from time import monotonic
from typing import TypeAlias

import psycopg
from psycopg.pq import TransactionStatus
from typing_extensions import override

from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key
from eventflow.handling.transactions.port import (
    AbortedTransactionError,
    EndedTransactionError,
    ThreadTransaction,
    ThreadTransactions,
)
from eventflow.handling.transactions.statements import Limits, claim_with, translated
from eventflow.outbox.row import insert_with, row_of

CONNECT_MAX_S = 3
SILENT_MAX_S = 10.0
"""Time after which the system closes a connection whose server acknowledges nothing, so that a thread does not hang."""

PROBE_EVERY_S = 5
"""Time after which the system asks a server whose answer is awaited. A host that has lost its power sends no error."""

IDLE_MAX_S = 60.0
"""Time without a use after which a connection is replaced. Firewalls and load balancers forget idle connections."""

PREPARED_AFTER = 5
"""Uses of a statement on a connection before it is prepared there."""

Connection: TypeAlias = "psycopg.Connection[tuple[object, ...]]"

_INSERT = insert_with("%({name})s")


class DriverTransactions(ThreadTransactions):
    """Connections that threads use one after the other. Each is opened when it is needed."""

    def __init__(self, url: str, *, prepares: bool, limits: Limits, application: str) -> None:
        """Remember the address; nothing is connected yet."""
        self._url = url
        self._application = application
        # Behind PgBouncer, another connection does not know the prepared statement.
        self._prepare_threshold = PREPARED_AFTER if prepares else None
        self._claim = claim_with(("%s", "%s", "%s"), limits)
        self._idle: deque[tuple[float, Connection]] = deque()  # each with the time of its last use
        self._is_closed = False

    @override
    def begin(self) -> "DriverTransaction":
        try:
            connection = self._idle_connection() or self._connect()
            begun = connection.transaction()
            begun.__enter__()
        except Exception as error:
            raise translated(error) from error
        return DriverTransaction(self, connection, begun, self._claim)

    @override
    def close(self) -> None:
        self._is_closed = True
        while self._idle:
            self._idle.pop()[1].close()

    def keep(self, connection: Connection) -> None:
        """Keep a connection for another transaction if it has none open."""
        if self._is_closed or connection.info.transaction_status is not TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append((monotonic(), connection))

    def _idle_connection(self) -> "Connection | None":
        """Return the connection that was used last; those that are closed or too old are given up."""
        with suppress(IndexError):  # another thread may have taken it
            while True:
                used_s, connection = self._idle.pop()
                if not connection.closed and monotonic() - used_s < IDLE_MAX_S:
                    return connection
                connection.close()
        return None

    def _connect(self) -> Connection:
        return psycopg.connect(
            self._url,
            autocommit=True,  # so that `transaction` alone begins and ends one
            prepare_threshold=self._prepare_threshold,
            connect_timeout=CONNECT_MAX_S,
            tcp_user_timeout=round(SILENT_MAX_S * 1000),
            keepalives_idle=PROBE_EVERY_S,
            keepalives_interval=PROBE_EVERY_S,
            application_name=self._application,
        )


class DriverTransaction(ThreadTransaction):
    """A transaction; nested ones of the function are savepoints in it, and an explicit `commit` raises an error."""

    def __init__(
        self,
        transactions: DriverTransactions,
        connection: Connection,
        begun: AbstractContextManager[psycopg.Transaction],
        claim: str,
    ) -> None:
        self.db = connection
        self._transactions = transactions
        self._begun = begun
        self._claim = claim
        self._is_over = False

    @override
    def claim(self, key: Key) -> bool:
        try:
            return self.db.execute(self._claim, key).fetchone() is not None
        except Exception as error:
            raise translated(error) from error

    @override
    def put(self, events: Sequence[DerivedEvent]) -> None:
        match self.db.info.transaction_status:
            case TransactionStatus.INERROR:
                raise AbortedTransactionError
            case TransactionStatus.IDLE:
                raise EndedTransactionError
            case TransactionStatus.UNKNOWN:  # psycopg would leave the transaction without a COMMIT and without an error
                raise psycopg.OperationalError("the connection is lost, and the function has caught the error")
        if events:
            with self.db.cursor() as cursor:
                cursor.executemany(_INSERT, [row_of(each, flow=each.flow) for each in events])

    @override
    def commit(self) -> None:
        self._is_over = True
        self._begun.__exit__(None, None, None)

    @override
    def end(self) -> None:
        with suppress(Exception):  # the connection is closed then
            if not self._is_over:
                rollback = psycopg.Rollback()
                self._begun.__exit__(type(rollback), rollback, None)
        self._transactions.keep(self.db)

    @override
    def is_lost(self) -> bool:
        return self.db.closed
