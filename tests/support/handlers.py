"""Handlers of tests, on every driver and without a database.

Each writes a row into the table `effects` of its database, and then does what the body of its event orders.
"""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from eventflow.handling import Context, Event, Reject, RetryLater

EFFECTS = "CREATE TABLE effects (flow text, event_id text, attempt integer, at timestamptz DEFAULT clock_timestamp())"
INSERT = "INSERT INTO effects VALUES ({}, {}, {})"
NAMED = text(INSERT.format(":flow", ":event_id", ":attempt"))

RELEASED = threading.Event()
"""Ends the calls of events that order `held`, also if their deadline is over."""

ENGINE_OPTIONS: dict[str, Any] = {}
"""Further options of the engines of the sessions."""

URL_VARIABLE = "handler_database"
"""Environment variable with the URL of the database for the sessions. In lower case, it gets no prefix of ours."""


async def on_asyncpg(event: Event, context: Context) -> Any:
    await context.db.execute(INSERT.format("$1", "$2", "$3"), *_row(event, context).values())
    await _run(orders_in(event), context.db.execute, context.db.transaction)
    return await _obeyed(event, context)


async def on_async_session(event: Event, context: Context) -> Any:
    await context.db.execute(NAMED, _row(event, context))
    if "commit" in orders_in(event):
        await context.db.commit()
    await _run(orders_in(event), lambda sql: context.db.execute(text(sql)), context.db.begin_nested)
    return await _obeyed(event, context)


def on_psycopg(event: Event, context: Context) -> Any:
    context.db.execute(INSERT.format("%s", "%s", "%s"), list(_row(event, context).values()))
    if "commit" in orders_in(event):
        context.db.commit()
    _run_on_thread(orders_in(event), context.db.execute, context.db.transaction)
    return _obeyed_on_thread(event, context)


def on_session(event: Event, context: Context) -> Any:
    context.db.execute(NAMED, _row(event, context))
    if "commit" in orders_in(event):
        context.db.commit()
    _run_on_thread(orders_in(event), lambda sql: context.db.execute(text(sql)), context.db.begin_nested)
    return _obeyed_on_thread(event, context)


async def without_database(event: Event, context: Context) -> Any:
    assert context.db is None
    return await _obeyed(event, context)


def on_thread(event: Event, context: Context) -> Any:
    assert context.db is None
    return _obeyed_on_thread(event, context)


def async_sessions() -> Any:
    """Make an `AsyncSession`."""
    url = os.environ[URL_VARIABLE].replace("postgresql:", "postgresql+asyncpg:", 1)
    return async_sessionmaker(create_async_engine(url, poolclass=NullPool, **ENGINE_OPTIONS))()


def sessions() -> Session:
    """Make a `Session`."""
    url = os.environ[URL_VARIABLE].replace("postgresql:", "postgresql+psycopg:", 1)
    return sessionmaker(create_engine(url, poolclass=NullPool, **ENGINE_OPTIONS))()


scoped_sessions = scoped_session(sessions)
"""Makes one `Session` for each thread, and returns it again and again."""


def orders_in(event: Event) -> Mapping[str, Any]:
    return json.loads(event.body) if event.body else {}


def _row(event: Event, context: Context) -> dict[str, Any]:
    return {"flow": context.flow, "event_id": event.id, "attempt": context.attempt}


async def _run(orders: Mapping[str, Any], execute: Callable[[str], Any], savepoint: Callable[[], Any]) -> None:
    """Run the statements that an event orders."""
    for sql in orders.get("sql", ()):
        await execute(sql)
    if (sql := orders.get("swallow")) is not None:
        with suppress(Exception):
            await execute(sql)
    if (sql := orders.get("savepoint")) is not None:
        with suppress(Exception):
            async with savepoint():
                await execute(sql)


def _run_on_thread(orders: Mapping[str, Any], execute: Callable[[str], Any], savepoint: Callable[[], Any]) -> None:
    for sql in orders.get("sql", ()):
        execute(sql)
    if (sql := orders.get("swallow")) is not None:
        with suppress(Exception):
            execute(sql)
    if (sql := orders.get("savepoint")) is not None:
        with suppress(Exception), savepoint():
            execute(sql)


async def _obeyed(event: Event, context: Context) -> Any:
    orders = orders_in(event)
    await asyncio.sleep(orders.get("sleep_s", 0))
    while orders.get("held") and not RELEASED.is_set():
        with suppress(asyncio.CancelledError):  # as no function should
            await asyncio.sleep(0.02)
    return _returned(event, context)


def _obeyed_on_thread(event: Event, context: Context) -> Any:
    orders = orders_in(event)
    time.sleep(orders.get("sleep_s", 0))
    if orders.get("held"):
        RELEASED.wait(60)
    return _returned(event, context)


def _returned(event: Event, context: Context) -> Any:
    orders = orders_in(event)
    time.sleep(orders.get("block_s", 0))
    match orders:
        case {"raise": text}:
            raise ValueError(text)
        case {"kill_once": path} if not Path(path).exists():
            Path(path).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        case {"reject": reason}:
            raise Reject(reason)
        case {"later_s": seconds}:
            raise RetryLater(seconds)
        case {"returns": returned}:
            return returned
        case {"emit": count}:
            flow = f"{context.flow}_out"
            return [context.derive(type="test.derived", flow=flow, body={"number": n}) for n in range(count)]
    return None
