"""Transactions over the user's sessions of SQLAlchemy, for `async` functions."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import override

from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key
from eventflow.handling.transactions.port import EndedTransactionError, Transaction, Transactions
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

END_MAX_S: Final = 2.0
"""Longest time for a ROLLBACK. After it the connection is given up."""

REQUEST_MAX_S: Final = 15.0

MakeSession = Callable[[], AsyncSession]


class SessionTransactions(Transactions):
    """One session for each transaction."""

    def __init__(self, make: MakeSession, *, limits: Limits) -> None:
        self._make = make
        self._claim = claim_statement(limits)

    @override
    async def begin(self) -> "SessionTransaction":
        try:
            return SessionTransaction(self._make(), self._claim)
        except Exception as error:  # of the user's factory
            raise translated(error) from error

    @override
    async def close(self) -> None:
        pass  # the connections are those of the user's engine


class SessionTransaction(Transaction):
    """A transaction; nested ones of the function are savepoints in it, and an explicit `commit` raises an error."""

    def __init__(self, session: AsyncSession, claim: Any) -> None:
        self.db = session
        self._guard = Guard(session.sync_session)
        self._claim = claim

    @override
    async def claim(self, key: Key) -> bool:
        try:
            self._key = values_of(key)
            claimed = await self.db.execute(self._claim, self._key)
            self._guard.note_connection()
            return claimed.first() is not None
        except Exception as error:
            raise translated(error) from error

    @override
    async def put(self, events: Sequence[DerivedEvent]) -> None:
        self._guard.require_open()
        await self.db.flush()  # here, so that the COMMIT alone is left
        if (await self.db.execute(PROOF, self._key)).first() is None:
            raise EndedTransactionError  # by a statement
        if events:
            await self.db.execute(INSERT, rows_of(events))

    @override
    async def commit(self) -> None:
        self._guard.allow_commit()
        await self.db.commit()

    @override
    async def end(self) -> None:
        self._guard.end()
        with suppress(Exception):
            async with asyncio.timeout(END_MAX_S):
                await self.db.close()
            return
        with suppress(Exception):
            await self.db.invalidate()

    @override
    def is_lost(self) -> bool:
        return self._guard.is_lost()


class AsyncSessionDatabase(SessionDatabase):
    """The database of these sessions."""

    def __init__(self, make: MakeSession) -> None:
        self._make = make

    @override
    async def values(self, *statements: str) -> Sequence[Any]:
        try:
            async with asyncio.timeout(REQUEST_MAX_S), self._make() as session, session.begin():
                return [(await session.execute(text(sql))).scalar() for sql in statements]
        except Exception as error:
            raise translated(error) from error
