"""Putting an event into the outbox, by every library that is accepted: it shares the fate of the caller's changes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import django
import psycopg
import pytest
import sqlalchemy
from django.conf import settings as django_settings
from django.db import connections as django_connections
from django.db import transaction as django_transaction
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session

from eventflow import outbox
from eventflow.errors import InvalidEventError, NoTransactionError
from eventflow.event import Event
from eventflow.outbox.row import event_of
from tests.support.databases import fetch
from tests.support.outbox import make_outbox, outbox_of

EVENT = outbox.new_event(
    id="o-1 ü",
    type="order.paid",
    source="shop",
    body={"paid": True, "name": "Größe %s :x"},
    subject="order 7 100% :name",
    time=datetime(2026, 11, 29, 1, 2, 3, 4000, tzinfo=UTC),
    dataschema="https://example.com/schema",
    extensions={"tenant": "a"},
    traceparent=f"00-{'1' * 32}-{'2' * 16}-01",
)


@pytest.fixture
async def database(database: str) -> str:
    """The URL of a database with an outbox, and with a table of the application."""
    await make_outbox(database)
    await fetch(database, "CREATE TABLE orders (name text)")
    return database


INSERT = "INSERT INTO orders VALUES ('mine')"


class UndoneError(Exception):
    """Ends a transaction of a test."""


@asynccontextmanager
async def asyncpg_connection(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(INSERT)
            yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def asyncpg_pool(url: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(url, min_size=1) as pool, pool.acquire() as connection, connection.transaction():
        await connection.execute(INSERT)
        yield connection


@asynccontextmanager
async def psycopg_async_connection(url: str) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(INSERT)
        yield connection


@asynccontextmanager
async def psycopg_async_cursor(url: str) -> AsyncIterator[Any]:
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        connection.transaction(),
        connection.cursor() as cursor,
    ):
        await cursor.execute(INSERT)
        yield cursor


def alchemy_url(url: str, driver: str) -> str:
    return urlsplit(url)._replace(scheme=f"postgresql+{driver}").geturl()


@asynccontextmanager
async def alchemy_async_session(url: str, driver: str = "asyncpg") -> AsyncIterator[Any]:
    engine = create_async_engine(alchemy_url(url, driver))
    try:
        async with async_sessionmaker(engine)() as session, session.begin():
            await session.execute(sqlalchemy.text(INSERT))
            yield session
    finally:
        await engine.dispose()


def alchemy_async_session_of_psycopg(url: str) -> AbstractAsyncContextManager[Any]:
    return alchemy_async_session(url, "psycopg")


@asynccontextmanager
async def alchemy_async_scoped_session(url: str) -> AsyncIterator[Any]:
    engine = create_async_engine(alchemy_url(url, "asyncpg"))
    sessions = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
    try:
        async with sessions() as session, session.begin():
            await session.execute(sqlalchemy.text(INSERT))
            yield sessions
    finally:
        await sessions.remove()
        await engine.dispose()


@asynccontextmanager
async def alchemy_async_connection(url: str) -> AsyncIterator[Any]:
    engine = create_async_engine(alchemy_url(url, "asyncpg"))
    try:
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text(INSERT))
            yield connection
    finally:
        await engine.dispose()


@contextmanager
def psycopg_connection(url: str) -> Iterator[Any]:
    with psycopg.connect(url) as connection:
        connection.execute(INSERT)
        yield connection


@contextmanager
def psycopg_cursor(url: str) -> Iterator[Any]:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(INSERT)
        yield cursor


@contextmanager
def alchemy_session(url: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(alchemy_url(url, "psycopg"))
    try:
        with Session(engine) as session, session.begin():
            session.execute(sqlalchemy.text(INSERT))
            yield session
    finally:
        engine.dispose()


@contextmanager
def alchemy_scoped_session(url: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(alchemy_url(url, "psycopg"))
    sessions = scoped_session(lambda: Session(engine))
    try:
        with sessions() as session, session.begin():
            session.execute(sqlalchemy.text(INSERT))
            yield sessions
    finally:
        sessions.remove()
        engine.dispose()


@contextmanager
def alchemy_connection(url: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(alchemy_url(url, "psycopg"))
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(INSERT))
            yield connection
    finally:
        engine.dispose()


@contextmanager
def django_database(url: str, *, is_proxy: bool = False) -> Iterator[Any]:
    """Connect Django; as a proxy it is what `from django.db import connection` gives."""
    if not django_settings.configured:
        django_settings.configure(DATABASES={"default": {}}, USE_TZ=True)
        django.setup()
    parts = urlsplit(url)
    django_connections.settings["default"] = django_connections.databases["default"] | {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port,
    }
    try:
        yield django.db.connection if is_proxy else django_connections["default"]
    finally:
        django_connections["default"].close()
        del django_connections["default"]


@contextmanager
def django_connection(url: str) -> Iterator[Any]:
    with django_database(url) as connection, django_transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(INSERT)
        yield connection


@contextmanager
def django_proxy(url: str) -> Iterator[Any]:
    with django_database(url, is_proxy=True) as connection, django_transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(INSERT)
        yield connection


ASYNCHRONOUS = [
    asyncpg_connection,
    asyncpg_pool,
    psycopg_async_connection,
    psycopg_async_cursor,
    alchemy_async_session,
    alchemy_async_session_of_psycopg,
    alchemy_async_scoped_session,
    alchemy_async_connection,
]
SYNCHRONOUS = [
    psycopg_connection,
    psycopg_cursor,
    alchemy_session,
    alchemy_scoped_session,
    alchemy_connection,
    django_connection,
    django_proxy,
]


async def events_and_orders(database: str) -> tuple[list[Event], int]:
    """Return the committed events of the outbox, and the number of committed orders of the application."""
    rows = await outbox_of(database)
    assert {row["flow"] for row in rows} <= {"notify"}
    orders = await fetch(database, "SELECT FROM orders")
    return [event_of({**row, "created_at": EVENT.accepted_at}) for row in rows], len(orders)


async def put_by(opened: Callable[[str], Any], database: str, *, fails: bool) -> None:
    async with opened(database) as db:
        await outbox.put(db, EVENT, flow="notify")
        assert await events_and_orders(database) == ([], 0)
        if fails:
            raise UndoneError


@pytest.mark.parametrize("opened", ASYNCHRONOUS)
async def test_an_event_is_there_after_the_commit_of_the_callers_changes_and_not_before(database, opened):
    await put_by(opened, database, fails=False)
    assert await events_and_orders(database) == ([EVENT], 1)


@pytest.mark.parametrize("opened", ASYNCHRONOUS)
async def test_an_event_is_rolled_back_with_the_callers_changes(database, opened):
    with pytest.raises(UndoneError):
        await put_by(opened, database, fails=True)
    assert await events_and_orders(database) == ([], 0)


def put_in_thread(opened: Callable[[str], Any], database: str, *, fails: bool) -> None:
    with opened(database) as db:
        outbox.put_sync(db, EVENT, flow="notify")
        if fails:
            raise UndoneError


@pytest.mark.parametrize("opened", SYNCHRONOUS)
async def test_a_synchronous_put_shares_the_fate_of_the_callers_changes(database, opened):
    with pytest.raises(UndoneError):
        await asyncio.to_thread(put_in_thread, opened, database, fails=True)
    assert await events_and_orders(database) == ([], 0)
    await asyncio.to_thread(put_in_thread, opened, database, fails=False)
    assert await events_and_orders(database) == ([EVENT], 1)


async def test_a_least_event_has_an_id_of_its_own_and_no_optional_attribute(database):
    async with asyncpg_connection(database) as db:
        for _ in range(2):
            await outbox.put(db, outbox.new_event(type="a", body=b"\x00\xff"), flow="notify")
    (first, second), _ = await events_and_orders(database)
    assert (first.body, first.source, first.content_type, first.subject) == (b"\x00\xff", "outbox", None, None)
    assert first.id != second.id


async def put_without_transaction(kind: str, url: str) -> None:
    match kind:
        case "asyncpg":
            connection = await asyncpg.connect(url)
            try:
                await outbox.put(connection, EVENT, flow="notify")
            finally:
                await connection.close()
        case "psycopg":
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await outbox.put(connection, EVENT, flow="notify")
        case "alchemy":
            engine = create_async_engine(alchemy_url(url, "asyncpg"), isolation_level="AUTOCOMMIT")
            try:
                async with AsyncSession(engine) as session:
                    await outbox.put(session, EVENT, flow="notify")
            finally:
                await engine.dispose()


@pytest.mark.parametrize("kind", ["asyncpg", "psycopg", "alchemy"])
async def test_a_put_outside_of_a_transaction_is_an_error_and_writes_nothing(database, kind):
    with pytest.raises(NoTransactionError, match="no transaction is open"):
        await put_without_transaction(kind, database)
    assert await events_and_orders(database) == ([], 0)


def put_sync_without_transaction(kind: str, url: str) -> None:
    match kind:
        case "psycopg":
            with psycopg.connect(url, autocommit=True) as connection:
                outbox.put_sync(connection, EVENT, flow="notify")
        case "alchemy":
            engine = sqlalchemy.create_engine(alchemy_url(url, "psycopg"))
            try:
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    outbox.put_sync(connection, EVENT, flow="notify")
            finally:
                engine.dispose()
        case "django":
            with django_database(url) as connection:
                outbox.put_sync(connection, EVENT, flow="notify")


@pytest.mark.parametrize("kind", ["psycopg", "alchemy", "django"])
async def test_a_synchronous_put_outside_of_a_transaction_is_an_error_and_writes_nothing(database, kind):
    with pytest.raises(NoTransactionError, match="no transaction is open"):
        await asyncio.to_thread(put_sync_without_transaction, kind, database)
    assert await events_and_orders(database) == ([], 0)


async def test_the_results_of_a_cursor_that_an_event_is_put_with_stay(database):
    def work() -> list[tuple[Any, ...]]:
        with psycopg.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT generate_series(1, 3)")
            outbox.put_sync(cursor, EVENT, flow="notify")
            return cursor.fetchall()

    assert await asyncio.to_thread(work) == [(1,), (2,), (3,)]


async def test_another_object_is_refused_with_those_that_are_accepted(database):
    with pytest.raises(TypeError, match=r"AsyncSession of sqlalchemy.*and not builtins\.object"):
        await outbox.put(object(), EVENT, flow="notify")
    with pytest.raises(TypeError, match=r"Session of sqlalchemy.*and not builtins\.object"):
        outbox.put_sync(object(), EVENT, flow="notify")
    async with asyncpg_connection(database) as db:
        with pytest.raises(TypeError, match=r"Connection of asyncpg is for `await outbox\.put`"):
            outbox.put_sync(db, EVENT, flow="notify")


@pytest.mark.parametrize("flow", ["", "Orders", "a.b", "x" * 64])
async def test_an_impossible_flow_is_refused_before_the_database_is_asked(database, flow):
    async with asyncpg_connection(database) as db:
        with pytest.raises(ValueError, match="no name of a flow"):
            await outbox.put(db, EVENT, flow=flow)
        await outbox.put(db, EVENT, flow="notify")  # the transaction is still usable
    assert len((await events_and_orders(database))[0]) == 1


async def test_an_event_that_no_relay_could_publish_is_refused_before_the_database_is_asked(database):
    wrong = Event(id="a\nb", source="s", type="t", time=EVENT.time, accepted_at=EVENT.time, body=b"")
    async with asyncpg_connection(database) as db:
        with pytest.raises(InvalidEventError, match="id must be"):
            await outbox.put(db, wrong, flow="notify")
    assert await events_and_orders(database) == ([], 1)
