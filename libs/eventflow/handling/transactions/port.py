"""The port of the transactions in which handlers work: one Protocol for the event loop, and its twin for threads."""

from collections.abc import Sequence
from typing import Any, Protocol

from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key


class EndedTransactionError(Exception):
    """The function has ended the transaction, or has left it aborted, so that nothing can be committed."""


ENDED = "the function has ended the transaction itself: leave COMMIT and ROLLBACK to Event Flow"
ABORTED = (
    "the function has caught an error of the database, which has aborted the transaction: let the error pass, or run "
    "the statement in a savepoint"
)


class Transaction(Protocol):
    """An open transaction on the event loop.

    Attributes:
        db: What the function works with.
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
            Exception: An error of the driver.
        """
        ...

    async def commit(self) -> None:
        """Commit. After an error it is unknown whether it is committed, unless the server has answered with the error.

        Raises:
            EndedTransactionError: There was nothing to commit.
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
