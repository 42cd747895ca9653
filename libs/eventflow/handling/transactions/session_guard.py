"""Common parts of sessions of SQLAlchemy, for the event loop and for threads. It requires SQLAlchemy."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session, SessionTransaction
from typing_extensions import override

from eventflow.database.migrations import MIGRATE_COMMAND, MIGRATIONS, TITLE
from eventflow.errors import DatabaseError, DatabaseSchemaError, HandlerError
from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key
from eventflow.handling.transactions.port import Database, EndedTransactionError
from eventflow.handling.transactions.statements import TRANSACTION_ID, VERSION, Limits, claim_with, proof_with
from eventflow.migration import mismatch_of
from eventflow.outbox.row import row_of

_KEY: Final = (":flow", ":source", ":id")

PROOF: Final = text(proof_with(_KEY))


def claim_statement(limits: Limits) -> Any:
    """Return the first statement of a transaction; see `claim_with`."""
    return text(claim_with(_KEY, limits))


def values_of(key: Key) -> dict[str, str]:
    """Return the values of this statement."""
    return dict(zip(("flow", "source", "id"), key, strict=True))


def rows_of(events: Sequence[DerivedEvent]) -> list[dict[str, Any]]:
    """Return the rows of events in the outbox."""
    return [row_of(each, flow=each.flow) for each in events]


class ForbiddenCommitError(Exception):
    """The function has called `commit` of its session."""


class Guard:
    """Lets nothing but Event Flow commit a session, and knows the state of its transaction."""

    def __init__(self, session: Session) -> None:
        """Begin the transaction of a new session, without I/O."""
        self._session = session
        self._transaction: SessionTransaction = session.begin()
        self._connection: Connection | None = None
        self._may_commit = False
        event.listen(session, "before_commit", self._before_commit)

    def note_connection(self) -> None:
        """Note the connection that the first statement has used."""
        self._connection = self._session.connection()

    def require_open(self) -> None:
        """Check that the transaction is the one that has claimed the event.

        Raises:
            EndedTransactionError: The function has ended it.
        """
        if self._session.get_transaction() is not self._transaction:
            raise EndedTransactionError

    def allow_commit(self) -> None:
        """Let the next commit pass."""
        self._may_commit = True

    def end(self) -> None:
        """Guard the session no longer: its factory may return it again, for the next call."""
        event.remove(self._session, "before_commit", self._before_commit)

    def is_lost(self) -> bool:
        """Whether SQLAlchemy has noticed that the connection is lost."""
        return self._connection is not None and self._connection.invalidated

    def _before_commit(self, session: Session) -> None:
        if not self._may_commit and not session.in_nested_transaction():  # the end of a savepoint is a commit too
            raise ForbiddenCommitError("the function may not commit its session: Event Flow does it")


def require_postgresql(session: Session, reference: str) -> None:
    """Check that sessions are those of a database in PostgreSQL.

    Raises:
        HandlerError: They are not.
    """
    dialect = session.get_bind().dialect.name
    if dialect != "postgresql":
        raise HandlerError(f"{reference} makes sessions of {dialect}; inbox and outbox need PostgreSQL")


class SessionDatabase(Database):
    """The database of the user's sessions. Its schema is not migrated: the user's role may have other rights."""

    @abstractmethod
    async def values(self, *statements: str) -> Sequence[Any]:
        """Return the only value of each statement, all in one session."""

    @override
    async def require(self) -> None:
        require_transaction(*await self.values(TRANSACTION_ID, TRANSACTION_ID))
        require_version(await self.scalar(VERSION) or 0)

    @override
    async def scalar(self, sql: str) -> Any:
        [value] = await self.values(sql)
        return value

    @override
    async def close(self) -> None:
        pass  # the connections are those of the user's engine


def require_transaction(first_id: object, second_id: object) -> None:
    """Check that two statements of a session were in one transaction, by its id in each of them.

    Otherwise the inbox would keep an event whose function has failed, and the event would be lost.

    Raises:
        DatabaseError: They were not.
    """
    if first_id != second_id:
        raise DatabaseError("the engine of the sessions commits each statement: remove isolation_level=AUTOCOMMIT")


def require_version(version: int) -> None:
    """Check the version of inbox and outbox. The user's own role may not be allowed to migrate them.

    Raises:
        DatabaseSchemaError: It is not the version of this program.
    """
    mismatch = mismatch_of(version, needed=len(MIGRATIONS), title=TITLE, command=MIGRATE_COMMAND)
    if mismatch is not None:
        raise DatabaseSchemaError(mismatch)
