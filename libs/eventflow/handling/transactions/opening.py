"""The adapter for the database of a handler. A driver is imported only if it is used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eventflow.errors import HandlerError
from eventflow.handling.loading import Function, load_object
from eventflow.handling.transactions.port import Database, ThreadTransactions, Transactions
from eventflow.handling.transactions.statements import Limits

EXTRA = "event-flow[postgres]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The database of a handler, which is connected to when it is used.

    Attributes:
        transactions: For the event loop if the function is `async`, and for threads otherwise.
        database: The same database, for checks and upkeep.
    """

    transactions: Transactions | ThreadTransactions
    database: Database


async def open_url(
    url: str, function: Function, *, connections_max: int, prepares: bool, limits: Limits, application: str
) -> Opened:
    """Prepare connections to the database of a `database_url`.

    Args:
        url: A `postgresql://` URL.
        function: Works on asyncpg if it is `async`, and otherwise on psycopg.
        connections_max: Most transactions at a time.
        prepares: Whether statements stay prepared on a connection.
        limits: Limits of each transaction.
        application: Name of the connections in `pg_stat_activity`.

    Raises:
        HandlerError: The driver is not installed.
    """
    require_drivers(function)
    from eventflow.handling.transactions.url_database import UrlDatabase  # noqa: PLC0415

    database = UrlDatabase(url, application=application)
    if function.is_async:
        from eventflow.handling.transactions.pool import PoolTransactions, open_pool  # noqa: PLC0415

        pool = await open_pool(url, connections_max=connections_max, prepares=prepares, application=application)
        return Opened(transactions=PoolTransactions(pool, limits=limits), database=database)
    from eventflow.handling.transactions.driver import DriverTransactions  # noqa: PLC0415

    transactions = DriverTransactions(url, prepares=prepares, limits=limits, application=application)
    return Opened(transactions=transactions, database=database)


def require_drivers(function: Function) -> None:
    """Check that the drivers for a `database_url` are installed: asyncpg, and psycopg for a function on threads.

    Raises:
        HandlerError: One is not.
    """
    try:
        import asyncpg  # noqa: F401, PLC0415
    except ModuleNotFoundError:
        raise HandlerError(f"database_url requires the package asyncpg: pip install '{EXTRA}'") from None
    if function.is_async:
        return
    try:
        import psycopg  # noqa: F401, PLC0415
    except ImportError as error:  # also if it finds no libpq
        raise HandlerError(
            f"database_url and a function that is not `async` require psycopg: pip install 'psycopg[binary]' ({error})"
        ) from None


def open_sessions(reference: str, function: Function, *, limits: Limits) -> Opened:
    """Prepare transactions over the user's sessions.

    Args:
        reference: Names their factory.
        function: Needs an `AsyncSession` if it is `async`, and otherwise a `Session`.
        limits: Limits of each transaction.

    Raises:
        HandlerError: The factory does not make such sessions.
    """
    make = load_object(reference)
    try:
        from eventflow.handling.transactions.session_guard import require_postgresql  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise HandlerError(f"session requires the package {error.name}: pip install 'sqlalchemy[asyncio]'") from None
    from sqlalchemy.ext.asyncio import AsyncSession  # noqa: PLC0415
    from sqlalchemy.orm import Session  # noqa: PLC0415

    made = _made_by(make, reference)
    match made:
        case AsyncSession() if function.is_async:
            require_postgresql(made.sync_session, reference)
            from eventflow.handling.transactions.async_sessions import (  # noqa: PLC0415
                AsyncSessionDatabase,
                SessionTransactions,
            )

            return Opened(transactions=SessionTransactions(make, limits=limits), database=AsyncSessionDatabase(make))
        case Session() if not function.is_async:
            require_postgresql(made, reference)
            from eventflow.handling.transactions.thread_sessions import (  # noqa: PLC0415
                ThreadSessionDatabase,
                ThreadSessionTransactions,
            )

            return Opened(
                transactions=ThreadSessionTransactions(make, limits=limits), database=ThreadSessionDatabase(make)
            )
        case AsyncSession():
            raise HandlerError(f"{reference} makes an AsyncSession, and the function is not `async`")
        case Session():
            raise HandlerError(f"{reference} makes a Session, and the function is `async`: use an async_sessionmaker")
        case _:
            raise HandlerError(f"{reference} makes no session of SQLAlchemy, but {type(made).__name__}")


def _made_by(make: Callable[[], Any], reference: str) -> Any:
    """Make one session to see its kind. It does not connect before its first statement."""
    try:
        return make()
    except Exception as error:  # code of the user, which can raise anything
        raise HandlerError(f"{reference}() has raised {type(error).__name__}: {error}") from error
