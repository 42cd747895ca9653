"""Handlers of tests. Each writes a row into the table `effects`, and then does what the body of its event orders."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from eventflow.handling import Context, DerivedEvent, Event, Reject, RetryLater

EFFECTS = "CREATE TABLE effects (flow text, event_id text, attempt integer, at timestamptz DEFAULT clock_timestamp())"
INSERT = "INSERT INTO effects VALUES ({}, {}, {})"


async def on_asyncpg(event: Event, context: Context) -> list[DerivedEvent] | None:
    await context.db.execute(INSERT.format("$1", "$2", "$3"), context.flow, event.id, context.attempt)
    orders = orders_in(event)
    if (sql := orders.get("sql")) is not None:
        await context.db.execute(sql)
    await asyncio.sleep(orders.get("sleep_s", 0))
    obey(orders)
    return derived(orders, context)


async def without_database(event: Event, context: Context) -> list[DerivedEvent] | None:
    assert context.db is None
    orders = orders_in(event)
    await asyncio.sleep(orders.get("sleep_s", 0))
    obey(orders)
    return derived(orders, context)


def orders_in(event: Event) -> Mapping[str, Any]:
    return json.loads(event.body) if event.body else {}


def obey(orders: Mapping[str, Any]) -> None:
    """Do what an event orders, the same on every driver."""
    match orders:
        case {"raise": text}:
            raise ValueError(text)
        case {"reject": reason}:
            raise Reject(reason)
        case {"later_s": seconds}:
            raise RetryLater(seconds)
        case {"block_s": seconds}:
            time.sleep(seconds)


def derived(orders: Mapping[str, Any], context: Context) -> list[DerivedEvent] | None:
    """Return as many events as were ordered, for the flow that has the name of this one with `_out`."""
    if "emit" not in orders:
        return None
    flow = f"{context.flow}_out"
    return [context.derive(type="test.derived", flow=flow, body={"number": n}) for n in range(orders["emit"])]
