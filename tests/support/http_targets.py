"""Attempts at a target, by any of the HTTP clients, as the handler makes them."""

import asyncio
from collections.abc import Callable
from typing import Any

from eventflow.event import Event, new_event_id, utc_now
from eventflow.message import Envelope
from eventflow_processor.target.aiohttp_client import AiohttpTarget
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.lean.client import LeanTarget
from eventflow_processor.target.port import Charge
from eventflow_processor.target.request import RequestForm
from eventflow_processor.target.result import Result

HttpTarget = LeanTarget | AiohttpTarget
CLIENTS: tuple[type[HttpTarget], ...] = (LeanTarget, AiohttpTarget)


def envelope(**changes: Any) -> Envelope:
    """Return an event that has just been accepted."""
    now = utc_now()
    event = {"id": new_event_id(), "source": "/", "type": "t", "time": now, "accepted_at": now, "body": b"{}"}
    return Envelope(event=Event(**(event | changes)))


def target_at(client: type[HttpTarget], url: str, **changes: Any) -> HttpTarget:
    """Return a target at a URL, to be used as a context manager."""
    defaults: dict[str, Any] = {
        "form": RequestForm(),
        "headers": {},
        "timeout_s": 5,
        "feedback": FeedbackReader(mode="none"),
    }
    return client(url=url, **(defaults | changes))


def refuse(_: Callable[[], None]) -> None:
    """Charge of an attempt that must not repeat its request."""
    raise AssertionError("no request was repeated")


async def result_of(target: HttpTarget, sent: Envelope | None = None, charge: Charge = refuse) -> Result:
    """Return the result of an attempt."""
    ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    target.start(sent or envelope(), charge=charge, on_result=ended.set_result)
    return await ended


async def attempt_at(client: type[HttpTarget], url: str, **changes: Any) -> tuple[Result, int]:
    """Return the result of an attempt at a new target, and how many repeated requests were charged."""
    charged = []

    def charge(send: Callable[[], None]) -> None:
        charged.append(True)
        send()

    async with target_at(client, url, **changes) as target:
        return await result_of(target, charge=charge), len(charged)
