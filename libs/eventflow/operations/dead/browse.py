"""Browse the dead queue of a flow, a few dead letters at a time: the common part of all operations on it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Self, TypeVar

from eventflow.amqp.browser import Browsed, Browser, browsing
from eventflow.operations.dead.selection import Selection
from eventflow.operations.session import Link
from eventflow.operations.tally import Tally
from eventflow.settings.root import Settings
from eventflow.tasks import finished
from eventflow.topology import dead_queue

READ_MAX_BYTES = 64 * 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadQueue:
    """The dead queue of a flow.

    Attributes:
        max_body_bytes: The largest body that the collector of the flow accepts.
    """

    flow: str
    max_body_bytes: int

    @classmethod
    def of(cls, settings: Settings, flow: str) -> Self:
        """Return the dead queue of a flow in the settings."""
        return cls(flow=flow, max_body_bytes=settings.all_flows[flow].source.max_body_bytes)

    @property
    def name(self) -> str:
        """The name of the queue."""
        return dead_queue(self.flow)

    @property
    def per_read(self) -> int:
        """Number of dead letters to read at a time, so that their bodies have at most 64 MiB together."""
        return max(1, READ_MAX_BYTES // self.max_body_bytes)


@dataclass(slots=True, kw_only=True)
class DeadTally(Tally):
    """Progress through the dead letters of a queue.

    Attributes:
        done: Those that were selected and handled.
        found_ids: The ids that were selected, if a selection has ids.
        is_ending: Set it to end the operation in order, after the dead letters of the present read. A cancellation
            can close the channel before the broker has all acks, so that acked dead letters come back.
    """

    done: int = 0
    found_ids: set[str] = field(default_factory=set)
    is_ending: bool = False


Action = Callable[[Browser, Sequence[Browsed], DeadTally], Awaitable[None]]
"""Handles the selected dead letters of one read, and counts in the tally those that are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[T]):
    """Dead letters that a search has found.

    Attributes:
        letters: The first ones that are selected, the oldest first, each in the form that was asked for.
        searched: Number of dead letters that were read.
        total: Number of dead letters in the queue at the start.
    """

    letters: tuple[T, ...]
    searched: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of a search, because dead letters that are being read are hidden from all others.

    Attributes:
        letters: Most dead letters to read.
        time_s: Longest time to read, and once more to keep the order of the queue.
    """

    letters: int | None = None
    time_s: float = math.inf


UNBOUNDED = Bounds()


async def first(
    link: Link,
    queue: DeadQueue,
    selection: Selection,
    limit: int,
    *,
    form: Callable[[Browsed], T],
    bounds: Bounds = UNBOUNDED,
) -> Found[T]:
    """Return the first selected dead letters, at most `limit`.

    Args:
        link: An open connection.
        queue: The dead queue.
        selection: Selects dead letters.
        limit: Most dead letters to return.
        form: Makes the returned form of each. It is made at once, so that a form without the body keeps only the bodies
            of one read in memory: a thousand bodies can need gigabytes.
        bounds: Bounds of the search.

    Raises:
        BrokerUnavailableError: The broker cannot be used.
    """
    found: list[T] = []
    searched = 0
    deadline_s = time.monotonic() + bounds.time_s
    async with browsing(link.connection, queue.name, at_most=bounds.letters, order_within_s=bounds.time_s) as browser:
        while len(found) < limit and time.monotonic() < deadline_s and (letters := await browser.read(queue.per_read)):
            searched += len(letters)
            selected = (letter for letter in letters if selection.has(letter))
            found += map(form, islice(selected, limit - len(found)))
    return Found(letters=tuple(found), searched=searched, total=browser.total)


async def browse(
    link: Link, queue: DeadQueue, selection: Selection, action: Action, tally: DeadTally, *, bounds: Bounds = UNBOUNDED
) -> None:
    """Read each dead letter that is in the queue now, and apply the action to the selected ones.

    Dead letters that the action does not ack stay in the queue, in order. Those that arrive meanwhile are behind these
    and are not read, so that the operation ends.

    Raises:
        EventFlowError: The broker failed. Dead letters that were not acked are still in the queue.
    """
    deadline_s = time.monotonic() + bounds.time_s
    async with browsing(link.connection, queue.name, at_most=bounds.letters, order_within_s=bounds.time_s) as browser:
        tally.total = browser.total
        while not tally.is_ending and time.monotonic() < deadline_s:
            if not (letters := await browser.read(queue.per_read)):
                break
            tally.seen += len(letters)
            selected = [letter for letter in letters if selection.has(letter)]
            if selection.ids:
                tally.found_ids |= {letter.envelope.event.id for letter in selected}
            await action(browser, selected, tally)
            tally.on_read()


async def delete(browser: Browser, letters: Sequence[Browsed], tally: DeadTally) -> None:
    """Ack the dead letters, so that the broker deletes them."""
    await handle_each(letters, tally, browser.ack)


async def count(_: Browser, letters: Sequence[Browsed], tally: DeadTally) -> None:
    """Count the dead letters and leave them in the queue."""
    tally.done += len(letters)


async def handle_each(items: Sequence[T], tally: DeadTally, handle: Callable[[T], Awaitable[None]]) -> None:
    """Handle all of them concurrently. If one fails, the others finish first and are counted.

    If the operation is cancelled, all of them finish too: a dead letter with a confirmed copy must be acked, or its
    event is sent twice.
    """
    await finished(_handle_all(items, tally, handle))


async def _handle_all(items: Sequence[T], tally: DeadTally, handle: Callable[[T], Awaitable[None]]) -> None:
    results = await asyncio.gather(*map(handle, items), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    tally.done += len(results) - len(failures)
    for failure in failures:
        raise failure
