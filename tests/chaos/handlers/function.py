"""The handlers that the processors run: each writes one row for each event, and derives one event."""

import os
import time
from functools import cache
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from eventflow.handling import Context, DerivedEvent, Event

EFFECTS: Final = """
    CREATE TABLE effects (
        id text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
"""
"""Without a key, so that an effect that is doubled has two rows."""

SESSIONS_VARIABLE: Final = "chaos_database_url"
"""Environment variable with the database of `sessions`."""

BLOCKING: Final = "blocking-"
"""Beginning of the ids of events at which the function blocks the event loop."""
BLOCKED_S: Final = 3.0


async def handle(event: Event, context: Context) -> DerivedEvent:
    """Write a row, and derive an event for the other flow."""
    if event.id.startswith(BLOCKING):
        time.sleep(BLOCKED_S)  # noqa: ASYNC251 - the mistake of a user
    await context.db.execute("INSERT INTO effects (id) VALUES ($1)", event.id)
    return _derived(event, context)


async def handle_slowly(event: Event, context: Context) -> DerivedEvent:
    """Do the same, and hold the transaction open for a moment."""
    await context.db.execute("INSERT INTO effects (id) VALUES ($1)", event.id)
    await context.db.execute("SELECT pg_sleep(0.05)")
    return _derived(event, context)


async def handle_in_session(event: Event, context: Context) -> DerivedEvent:
    """Do the same with a session of SQLAlchemy."""
    await context.db.execute(text("INSERT INTO effects (id) VALUES (:id)"), {"id": event.id})
    return _derived(event, context)


def handle_in_thread(event: Event, context: Context) -> DerivedEvent:
    """Do the same in a thread, with psycopg."""
    context.db.execute("INSERT INTO effects (id) VALUES (%s)", [event.id])
    return _derived(event, context)


def sessions() -> AsyncSession:
    """Make a session for `handle_in_session`."""
    return _factory()()


@cache
def _factory() -> async_sessionmaker[AsyncSession]:
    url = os.environ[SESSIONS_VARIABLE].replace("postgresql://", "postgresql+asyncpg://")
    return async_sessionmaker(create_async_engine(url))


def _derived(event: Event, context: Context) -> DerivedEvent:
    (other,) = set(context.flows) - {context.flow}
    return context.derive(type="chaos.effected", flow=other, body=event.id)
