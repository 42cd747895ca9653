"""The port of the transactions in which handlers work: one Protocol for the event loop, and one for threads."""

from collections.abc import Sequence
from typing import Any, Protocol

from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key


class EndedTransactionError(Exception):
    """The function has ended the transaction itself, so a part of its effect may be committed, or may be lost."""

    def __init__(self) -> None:
        super().__init__("the function has ended the transaction itself: leave COMMIT and ROLLBACK to Event Flow")


class AbortedTransactionError(Exception):
    """The function has left the transaction aborted, so nothing is committed."""

    def __init__(self) -> None:
        super().__init__(ABORTED)


ABORTED = (
    "the function has caught an error of the database, which has aborted the transaction: let the error pass, or run "
    "the statement in a savepoint"
)


class Transaction(Protocol):
    """An open transaction on the event loop.

    Attributes:
        db: The connection or session on which the function runs its statements.
    """

    db: Any

    async def claim(self, key: Key) -> bool:
        """Write an event into the inbox; return whether it was not there. Waits for another transaction that does so.

        Raises:
            DatabaseUnavailableError: The database cannot be used.
            InboxLockedError: Another transaction has written it, and has not ended in time.
        """
        ...

    async def put(self, events: Sequence[DerivedEvent]) -> None:
        """Write events into the outbox, and check that the transaction is still open.

        Raises:
            EndedTransactionError: It is not.
            AbortedTransactionError: An error has aborted it.
            Exception: An error of the driver.
        """
        ...

    async def commit(self) -> None:
        """Commit. After an error it is unknown whether it is committed, unless the server has answered with the error.

        Raises:
            AbortedTransactionError: Nothing was committed.
            Exception: An error of the driver.
        """
        ...

    async def end(self) -> None:
        """Roll back unless it is committed, and free the connection. It is bounded in time, and raises nothing."""
        ...

    def is_lost(self) -> bool:
        """Whether the connection is closed."""
        ...


class Transactions(Protocol):
    """Transactions of one flow on the event loop, any number at a time."""

    async def begin(self) -> Transaction:
        """Open a transaction.

        Raises:
            DatabaseUnavailableError: The database cannot be used.
        """
        ...

    async def close(self) -> None:
        """Close all connections, also those in use."""
        ...


class ThreadTransaction(Protocol):
    """An open transaction on a thread: the methods of `Transaction`, which block."""

    db: Any

    def claim(self, key: Key) -> bool:
        """See `Transaction.claim`."""
        ...

    def put(self, events: Sequence[DerivedEvent]) -> None:
        """See `Transaction.put`."""
        ...

    def commit(self) -> None:
        """See `Transaction.commit`."""
        ...

    def end(self) -> None:
        """See `Transaction.end`."""
        ...

    def is_lost(self) -> bool:
        """See `Transaction.is_lost`."""
        ...


class ThreadTransactions(Protocol):
    """Transactions of one flow on threads, any number at a time."""

    def begin(self) -> ThreadTransaction:
        """See `Transactions.begin`."""
        ...

    def close(self) -> None:
        """Close all connections that are not in use, and each other one after its use."""
        ...


class Database(Protocol):
    """The database of a handler, apart from its calls: for checks and for the upkeep."""

    async def require(self) -> None:
        """Check that inbox and outbox are there. Migrate them, if the adapter can and the role may do this.

        Raises:
            DatabaseUnavailableError: The database cannot be used.
            DatabaseSchemaError: They are not there; the message has the command to run.
        """
        ...

    async def scalar(self, sql: str) -> Any:
        """Run a statement in a transaction of its own, and return its only value.

        Raises:
            DatabaseUnavailableError: The database cannot be used, or has refused the statement.
        """
        ...

    async def close(self) -> None:
        """Close the connections that are its own."""
        ...
