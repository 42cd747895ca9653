"""Browse the dead queue of a flow, a few dead letters at a time: the common part of replay, purge and export."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eventflow.amqp.browser import Browsed, Browser, browsing
from eventflow.amqp.publisher import Publisher
from eventflow.cli.console import err
from eventflow.cli.dead.dead_letters import Selection, letters_per_read
from eventflow.cli.dead.export_files import ExportFile
from eventflow.cli.session import Link, connected, publishing
from eventflow.message import Envelope, encode, restarted
from eventflow.settings.root import Settings
from eventflow.topology import Lane, dead_queue, ingest_specs, lane_queue

CONFIRM_TIMEOUT_S = 10.0
UNCONFIRMED_MAX = 32
"""Events of a file that are sent before their confirms are awaited."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadQueue:
    """The dead queue of a flow, and the settings with which it is reached."""

    settings: Settings
    flow: str

    @property
    def name(self) -> str:
        """The name of the queue."""
        return dead_queue(self.flow)

    @property
    def urls(self) -> tuple[str, ...]:
        """The broker's URLs."""
        return self.settings.broker.urls

    @property
    def per_read(self) -> int:
        """Number of dead letters to read at a time."""
        return letters_per_read(self.settings.all_flows[self.flow].source.max_body_bytes)


@dataclass(slots=True, kw_only=True)
class Tally:
    """Progress through the dead letters, which is reported even if the command fails half-way."""

    seen: int = 0
    done: int = 0
    found_ids: set[str] = field(default_factory=set)
    """The ids that were selected, if a selection has ids."""


Action = Callable[[Browser, Sequence[Browsed], Tally], Awaitable[None]]
"""Handles the selected dead letters of one read, and counts in the tally those that are done."""


async def first(
    queue: DeadQueue, selection: Selection, limit: int, *, at_most: int | None = None
) -> tuple[list[Browsed], int]:
    """Return the first selected dead letters, at most `limit`, and the number of all dead letters, at most `at_most`.

    Raises:
        BrokerUnavailableError: The broker cannot be used.
    """
    found: list[Browsed] = []
    async with (
        connected(queue.urls) as link,
        browsing(link.connection, queue.name, at_most=at_most) as browser,
    ):
        depth = browser.left
        while len(found) < limit and (letters := await browser.read(queue.per_read)):
            found += [letter for letter in letters if selection.has(letter)]
    return found[:limit], depth


async def browse(
    queue: DeadQueue, selection: Selection, action: Action, tally: Tally, *, at_most: int | None = None
) -> None:
    """Read each dead letter that is in the queue now, and apply the action to the selected ones.

    Dead letters that the action does not ack stay in the queue, in order. Those that arrive meanwhile are behind these
    and are not read, so that the command ends.

    Raises:
        EventFlowError: The broker failed. Dead letters that were not acked are still in the queue.
    """
    async with connected(queue.urls) as link:
        await _browse(link, queue, selection, action, tally, at_most=at_most)


async def _browse(
    link: Link, queue: DeadQueue, selection: Selection, action: Action, tally: Tally, *, at_most: int | None = None
) -> None:
    async with browsing(link.connection, queue.name, at_most=at_most) as browser:
        with _progress() as progress:
            bar = progress.add_task(queue.name, total=browser.left)
            while letters := await browser.read(queue.per_read):
                tally.seen += len(letters)
                selected = [letter for letter in letters if selection.has(letter)]
                if selection.ids:
                    tally.found_ids |= {letter.envelope.event.id for letter in selected}
                await action(browser, selected, tally)
                progress.update(bar, completed=tally.seen)


async def replay(queue: DeadQueue, selection: Selection, tally: Tally) -> None:
    """Move the selected dead letters to the replay lane. Their attempts are counted from zero again.

    A dead letter is acked only after its copy is confirmed: a crash in between duplicates an event and never loses one.

    Raises:
        EventFlowError: A copy was not confirmed, or the broker failed.
    """
    async with connected(queue.urls) as link, publishing(link, ingest_specs(queue.flow)) as publisher:

        async def move_all(browser: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
            await _each(
                letters, tally, lambda letter: _move(browser, publisher, letter, restarted(letter.envelope), queue.flow)
            )

        await _browse(link, queue, selection, move_all, tally)


async def replay_file(queue: DeadQueue, file: ExportFile, tally: Tally) -> None:
    """Send each event of a file to the replay lane, in place of its dead letter if that is still in the queue.

    Each line stands for one dead letter. If the queue has more of an id than the file, the others stay. As in `replay`,
    a dead letter is acked only after its copy is confirmed. The tally counts lines.

    Raises:
        EventFlowError: A copy was not confirmed, or the broker failed.
    """
    lane, tally.seen = lane_queue(queue.flow, Lane.REPLAY), file.lines
    async with connected(queue.urls) as link, publishing(link, ingest_specs(queue.flow)) as publisher:

        async def move_all(browser: Browser, letters: Sequence[Browsed], _: Tally) -> None:
            edited = [(letter, envelope) for letter in letters if (envelope := file.take(letter.envelope.event.id))]
            await _each(edited, tally, lambda pair: _move(browser, publisher, *pair, queue.flow))

        await _browse(link, queue, Selection(ids=file.ids), move_all, Tally())
        rest = file.take_rest()
        while envelopes := list(islice(rest, UNCONFIRMED_MAX)):
            await _each(envelopes, tally, lambda envelope: _publish(publisher, envelope, lane))


async def delete(browser: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
    """Ack the dead letters, so that the broker deletes them."""
    await _each(letters, tally, browser.ack)


async def count(_: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
    """Count the dead letters and leave them in the queue."""
    tally.done += len(letters)


async def _move(browser: Browser, publisher: Publisher, letter: Browsed, envelope: Envelope, flow: str) -> None:
    await _publish(publisher, envelope, lane_queue(flow, Lane.REPLAY))
    await browser.ack(letter)


async def _publish(publisher: Publisher, envelope: Envelope, queue: str) -> None:
    await publisher.publish(encode(envelope), queue=queue).confirmed(timeout_s=CONFIRM_TIMEOUT_S)


async def _each(items: Sequence[T], tally: Tally, handle: Callable[[T], Awaitable[None]]) -> None:
    """Handle all of them concurrently. If one fails, the others finish first and are counted."""
    results = await asyncio.gather(*map(handle, items), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    tally.done += len(results) - len(failures)
    for failure in failures:
        raise failure


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
