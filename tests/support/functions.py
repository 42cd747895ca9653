"""A function as a target, in the process of the test: on every driver, with a real database."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge
from structlog.testing import capture_logs

from eventflow.errors import EventFlowError
from eventflow.event import Event, utc_now
from eventflow.handling import DerivedEvent
from eventflow.message import Envelope
from eventflow.settings.handler import HandlerSettings
from eventflow.telemetry.metrics import count_of
from eventflow_processor.target.function.loop_watch import LoopWatch
from eventflow_processor.target.function.metrics import FunctionMetrics
from eventflow_processor.target.function.opening import open_function
from eventflow_processor.target.function.target import FunctionTarget
from eventflow_processor.target.port import Attempt
from eventflow_processor.target.result import Result
from tests.support.databases import execute, fetch
from tests.support.handlers import EFFECTS, URL_VARIABLE

ASYNC_KINDS = ("asyncpg", "async_session")
THREAD_KINDS = ("psycopg", "session")
KINDS = (*ASYNC_KINDS, *THREAD_KINDS)
FLOW = "orders"
FLOWS = (FLOW, f"{FLOW}_out")


@dataclass(slots=True)
class Published:
    """A publish of a test, with its error."""

    event: DerivedEvent
    error: EventFlowError | None = None

    async def confirmed(self, *, timeout_s: float) -> None:
        if self.error is not None:
            raise self.error


@dataclass(slots=True, kw_only=True)
class Functions:
    """A function as a target.

    Attributes:
        published: The events that a function without a database has emitted.
        publish_error: Error of the next publishes.
    """

    kind: str
    logs: list[Any]
    metrics: FunctionMetrics
    database: str | None
    target: FunctionTarget
    published: list[Published] = field(default_factory=list)
    publish_error: EventFlowError | None = None

    async def result(self, event_id: str = "e", **orders: Any) -> Result:
        """Return the result of one call; `orders` are those of `tests.support.handlers`."""
        ended, _ = self.start(event_id, **orders)
        return await asyncio.wait_for(ended, 30)

    def start(self, event_id: str = "e", **orders: Any) -> tuple["asyncio.Future[Result]", Attempt]:
        """Start a call; return its future result, and the attempt."""
        ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        attempt = self.target.start(envelope_of(event_id, **orders), charge=_refuse, on_result=ended.set_result)
        return ended, attempt

    @property
    def skipped(self) -> float:
        return count_of(self.metrics.skipped)

    @property
    def overrun(self) -> float:
        return count_of(self.metrics.overrun)  # type: ignore[arg-type]

    async def effects(self) -> list[str]:
        """Return the ids of the events that have taken effect."""
        assert self.database is not None
        return [row["event_id"] for row in await fetch(self.database, "SELECT event_id FROM effects ORDER BY at")]

    async def inbox(self) -> list[str]:
        assert self.database is not None
        return [row["id"] for row in await fetch(self.database, "SELECT id FROM eventflow.inbox ORDER BY id")]

    async def outbox(self) -> list[str]:
        assert self.database is not None
        return [row["id"] for row in await fetch(self.database, "SELECT id FROM eventflow.outbox ORDER BY number")]


@asynccontextmanager
async def functions(kind: str, database: str | None, **settings: Any) -> AsyncIterator[Functions]:
    """Open the function of `tests.support.handlers` for a kind of database, or `on_thread` and `without_database`."""
    if database is not None:
        await execute(database, EFFECTS)
    async with opened(kind, database, **settings) as open_one:
        yield open_one


@asynccontextmanager
async def opened(kind: str, database: str | None, **settings: Any) -> AsyncIterator[Functions]:
    """Open such a function over a database that has the table already, or none."""
    registry = CollectorRegistry()
    metrics = FunctionMetrics(
        skipped=Counter("skipped", "-", registry=registry),
        overrun=Gauge("overrun", "-", registry=registry),
        loop_blocked=Counter("loop_blocked", "-", registry=registry),
    )
    call = {"call": f"tests.support.handlers:{kind if database is None else f'on_{kind}'}"}
    async with AsyncExitStack() as stack:
        logs = stack.enter_context(capture_logs())
        here = Functions(kind=kind, logs=logs, metrics=metrics, database=database, target=None)  # type: ignore[arg-type]

        def publish(event: DerivedEvent) -> Published:
            here.published.append(Published(event, here.publish_error))
            return here.published[-1]

        here.target = await open_function(
            HandlerSettings(**(call | _database_of(kind, database) | settings)),
            stack,
            flow=FLOW,
            flows=FLOWS,
            publish=publish,
            metrics=metrics,
            watch=LoopWatch(),
            on_awaited=lambda _: None,  # nothing else calls it
        )
        yield here


def envelope_of(event_id: str, **orders: Any) -> Envelope:
    """Return an event that orders something."""
    now = utc_now()
    body = json.dumps(orders).encode()
    return Envelope(
        event=Event(id=event_id, source="/tests", type="t", time=now, accepted_at=now, body=body), attempt=1
    )


def _database_of(kind: str, database: str | None) -> dict[str, str]:
    if database is None:
        return {}
    if not kind.endswith("session"):
        return {"database_url": database}
    os.environ[URL_VARIABLE] = database
    return {"session": f"tests.support.handlers:{kind}s"}


def _refuse(_: object) -> None:
    raise AssertionError("a function asks for no second request")
