"""Put an event into the outbox within a transaction of the caller, whichever library has opened it.

The library of a connection is known by the names of its classes, so that none needs to be installed.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from eventflow.errors import NoTransactionError
from eventflow.event import Event
from eventflow.outbox.row import Row, event_of, insert_with, row_of
from eventflow.topology import FLOW_NAME

_NO_TRANSACTION: Final = (
    "no transaction is open, so the event would be sent even if your changes fail: put it inside of their transaction"
)

_Kind = tuple[str, str]
"""The package and the name of a class."""

F = TypeVar("F")


async def put(db: Any, event: Event, *, flow: str) -> None:
    """Put an event into the outbox. It is published if, and only if, the transaction is committed.

    Guarantee: it is published at least once after the COMMIT, always with the same id. This function never commits.

    Args:
        db: The open transaction: a connection of asyncpg, an `AsyncSession` or `AsyncConnection` of SQLAlchemy, or an
            `AsyncConnection` or `AsyncCursor` of psycopg 3.
        event: The event, such as one of `new_event`.
        flow: The flow that it goes into.

    Raises:
        TypeError: `db` is none of these.
        ValueError: The flow has an impossible name.
        InvalidEventError: An attribute of the event has a wrong form; the message names it.
        NoTransactionError: No transaction is open.
        Exception: The error of your library, as for every statement of yours.
    """
    write = _writer_of(db, _ASYNCHRONOUS, _SYNCHRONOUS, "outbox.put_sync")
    await write(db, _checked_row(event, flow))


def put_sync(db: Any, event: Event, *, flow: str) -> None:
    """Put an event into the outbox, as `put` does, without asyncio.

    Args:
        db: The open transaction: a `Session` or `Connection` of SQLAlchemy, a `Connection` or `Cursor` of psycopg 3, or
            Django's `connection`.
        event: The event, such as one of `new_event`.
        flow: The flow that it goes into.

    Raises:
        TypeError: `db` is none of these.
        ValueError: The flow has an impossible name.
        InvalidEventError: An attribute of the event has a wrong form; the message names it.
        NoTransactionError: No transaction is open.
        Exception: The error of your library, as for every statement of yours.
    """
    write = _writer_of(db, _SYNCHRONOUS, _ASYNCHRONOUS, "await outbox.put")
    write(db, _checked_row(event, flow))


def _checked_row(event: Event, flow: str) -> Row:
    if not FLOW_NAME.fullmatch(flow):
        raise ValueError(f"{flow!r} is no name of a flow: a-z, 0-9, _ and - are expected, with at most 63 characters")
    row = row_of(event, flow=flow)
    event_of({**row, "created_at": event.accepted_at})  # the check that the relay makes, while an error is still yours
    return row


def _writer_of(db: object, writers: Mapping[_Kind, F], others: Mapping[_Kind, object], other_name: str) -> F:
    kinds = [(each.__module__.partition(".")[0], each.__name__) for each in type(db).__mro__]
    for kind in kinds:
        if kind in writers:
            return writers[kind]
    if any(kind in others for kind in kinds):
        raise TypeError(f"{type(db).__name__} of {kinds[0][0]} is for `{other_name}`")
    accepted = ", ".join(f"{name} of {package}" for package, name in writers)
    raise TypeError(f"an open transaction is expected ({accepted}), and not {type(db).__module__}.{type(db).__name__}")


async def _put_asyncpg(connection: Any, row: Row) -> None:
    if not connection.is_in_transaction():
        raise NoTransactionError(_NO_TRANSACTION)
    await connection.execute(insert_with("${number}"), *row.values())


async def _put_psycopg_async(connection: Any, row: Row) -> None:
    _require_psycopg_transaction(connection)
    await connection.execute(insert_with("%({name})s"), row, prepare=False)


async def _put_psycopg_async_cursor(cursor: Any, row: Row) -> None:
    await _put_psycopg_async(cursor.connection, row)  # a statement of its own, so the results of the cursor stay


async def _put_alchemy_async(db: Any, row: Row) -> None:
    await db.run_sync(_put_alchemy, row)


async def _put_alchemy_async_scope(scope: Any, row: Row) -> None:
    await _put_alchemy_async(scope(), row)


def _put_alchemy(db: Any, row: Row) -> None:
    """Insert a row on a `Session` or a `Connection` of SQLAlchemy, either of which begins a transaction by itself."""
    from eventflow.outbox.on_sqlalchemy import INSERT  # noqa: PLC0415 - SQLAlchemy is the caller's, so it is installed

    connection = db if hasattr(db, "exec_driver_sql") else db.connection()
    if getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise NoTransactionError(_NO_TRANSACTION)
    connection.execute(INSERT, row)


def _put_alchemy_scope(scope: Any, row: Row) -> None:
    _put_alchemy(scope(), row)


def _put_psycopg(connection: Any, row: Row) -> None:
    _require_psycopg_transaction(connection)
    connection.execute(insert_with("%({name})s"), row, prepare=False)


def _put_psycopg_cursor(cursor: Any, row: Row) -> None:
    _put_psycopg(cursor.connection, row)


def _require_psycopg_transaction(connection: Any) -> None:
    """Check that a transaction is open, or that the next statement begins one."""
    if connection.autocommit and connection.info.transaction_status.name == "IDLE":
        raise NoTransactionError(_NO_TRANSACTION)


def _put_django(connection: Any, row: Row) -> None:
    if connection.get_autocommit():
        raise NoTransactionError(_NO_TRANSACTION)
    with connection.cursor() as cursor:
        cursor.execute(insert_with("%({name})s"), row)


_ASYNCHRONOUS: Final[Mapping[_Kind, Callable[[Any, Row], Awaitable[None]]]] = {
    ("asyncpg", "Connection"): _put_asyncpg,
    ("asyncpg", "PoolConnectionProxy"): _put_asyncpg,
    ("psycopg", "AsyncConnection"): _put_psycopg_async,
    ("psycopg", "AsyncCursor"): _put_psycopg_async_cursor,
    ("sqlalchemy", "AsyncSession"): _put_alchemy_async,
    ("sqlalchemy", "AsyncConnection"): _put_alchemy_async,
    ("sqlalchemy", "async_scoped_session"): _put_alchemy_async_scope,
}

_SYNCHRONOUS: Final[Mapping[_Kind, Callable[[Any, Row], None]]] = {
    ("django", "ConnectionProxy"): _put_django,
    ("django", "BaseDatabaseWrapper"): _put_django,
    ("psycopg", "Connection"): _put_psycopg,
    ("psycopg", "Cursor"): _put_psycopg_cursor,
    ("sqlalchemy", "Session"): _put_alchemy,
    ("sqlalchemy", "Connection"): _put_alchemy,
    ("sqlalchemy", "scoped_session"): _put_alchemy_scope,
}
