"""Transactions over the user's sessions of SQLAlchemy, for functions on threads."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session
from typing_extensions import override

from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key
from eventflow.handling.transactions.async_sessions import REQUEST_MAX_S
from eventflow.handling.transactions.port import (
    EndedTransactionError,
    ThreadTransaction,
    ThreadTransactions,
)
from eventflow.handling.transactions.session_guard import (
    PROOF,
    Guard,
    SessionDatabase,
    claim_statement,
    rows_of,
    values_of,
)
from eventflow.handling.transactions.statements import Limits, translated
from eventflow.outbox.on_sqlalchemy import INSERT
from eventflow.threads import on_daemon_thread

MakeSession = Callable[[], Session]


class ThreadSessionTransactions(ThreadTransactions):
    """One session for each transaction."""

    def __init__(self, make: MakeSession, *, limits: Limits) -> None:
        self._make = make
        self._claim = claim_statement(limits)

    @override
    def begin(self) -> "ThreadSessionTransaction":
        try:
            return ThreadSessionTransaction(self._make(), self._claim)
        except Exception as error:  # of the user's factory
            raise translated(error) from error

    @override
    def close(self) -> None:
        pass  # the connections are those of the user's engine


class ThreadSessionTransaction(ThreadTransaction):
    """A transaction; nested ones of the function are savepoints in it, and an explicit `commit` raises an error."""

    def __init__(self, session: Session, claim: Any) -> None:
        self.db = session
        self._guard = Guard(session)
        self._claim = claim

    @override
    def claim(self, key: Key) -> bool:
        try:
            self._key = values_of(key)
            claimed = self.db.execute(self._claim, self._key)
            self._guard.note_connection()
            return claimed.first() is not None
        except Exception as error:
            raise translated(error) from error

    @override
    def put(self, events: Sequence[DerivedEvent]) -> None:
        self._guard.require_open()
        self.db.flush()  # here, so that the COMMIT alone is left
        if (self.db.execute(PROOF, self._key)).first() is None:
            raise EndedTransactionError  # by a statement
        if events:
            self.db.execute(INSERT, rows_of(events))

    @override
    def commit(self) -> None:
        self._guard.allow_commit()
        self.db.commit()

    @override
    def end(self) -> None:
        self._guard.end()
        with suppress(Exception):
            self.db.close()
            return
        with suppress(Exception):
            self.db.invalidate()

    @override
    def is_lost(self) -> bool:
        return self._guard.is_lost()


class ThreadSessionDatabase(SessionDatabase):
    """The database of these sessions."""

    def __init__(self, make: MakeSession) -> None:
        self._make = make

    @override
    async def values(self, *statements: str) -> Sequence[Any]:
        try:
            async with asyncio.timeout(REQUEST_MAX_S):
                return await on_daemon_thread(partial(self._on_thread, statements), name="handler database")
        except Exception as error:
            raise translated(error) from error

    def _on_thread(self, statements: Sequence[str]) -> Sequence[Any]:
        with self._make() as session, session.begin():
            return [session.execute(text(sql)).scalar() for sql in statements]
