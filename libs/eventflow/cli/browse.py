"""Through a flow's dead queue, share by share: what replay, purge and export have in common."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eventflow.amqp.browser import Browsed, Browser, browsing
from eventflow.amqp.publisher import Publisher
from eventflow.cli.console import err
from eventflow.cli.dead_letters import Selection, share_of
from eventflow.cli.session import connected, publishing
from eventflow.message import encode, restarted
from eventflow.settings.root import Settings
from eventflow.topology import Lane, dead_queue, ingest_specs, lane_queue

CONFIRM_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose dead letters a command is about."""

    settings: Settings
    flow: str

    @property
    def share(self) -> int:
        """How many letters to read at once."""
        return share_of(self.settings.all_flows[self.flow].source.max_body_bytes)


@dataclass(slots=True, kw_only=True)
class Tally:
    """Progress of a pass over the dead letters, which is reported also if the pass fails half-way."""

    seen: int = 0
    done: int = 0


Action = Callable[[Browser, Sequence[Browsed], Tally], Awaitable[None]]
"""Deals with the selected letters of a share, counting in the tally what is done."""


async def first(
    place: Place, selection: Selection, limit: int, *, at_most: int | None = None
) -> tuple[list[Browsed], int]:
    """Return the first selected letters, at most `limit`, and how many letters there are, or `at_most` to look at.

    Raises:
        BrokerUnavailableError: The broker cannot be used.
    """
    found: list[Browsed] = []
    async with (
        connected(place.settings.broker.urls) as link,
        browsing(link.connection, dead_queue(place.flow), at_most=at_most) as browser,
    ):
        depth = browser.left
        while len(found) < limit and (share := await browser.read(place.share)):
            found += [letter for letter in share if selection.has(letter)]
    return found[:limit], depth


async def browse(
    place: Place, selection: Selection, action: Action, tally: Tally, *, at_most: int | None = None
) -> None:
    """Visit every letter that is there now once, and act on the selected ones; what is not acked stays, in order.

    It ends whatever arrives meanwhile: what comes later stands behind.

    Raises:
        EventFlowError: The broker cannot be used any more; letters that were not acked are still dead.
    """
    async with (
        connected(place.settings.broker.urls) as link,
        browsing(link.connection, dead_queue(place.flow), at_most=at_most) as browser,
    ):
        with _progress() as progress:
            bar = progress.add_task(dead_queue(place.flow), total=browser.left)
            while share := await browser.read(place.share):
                tally.seen += len(share)
                await action(browser, [letter for letter in share if selection.has(letter)], tally)
                progress.update(bar, completed=tally.seen)


async def replay(place: Place, selection: Selection, tally: Tally) -> None:
    """Move the selected letters to the replay lane, their attempts starting anew.

    A letter is acked only after its copy is confirmed: a crash in between duplicates and never loses.

    Raises:
        EventFlowError: A copy was not confirmed, or the broker cannot be used any more.
    """
    urls, queue = place.settings.broker.urls, lane_queue(place.flow, Lane.REPLAY)
    async with publishing(urls, ingest_specs(place.flow)) as publisher:

        async def move_all(browser: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
            await _each(letters, tally, lambda letter: _move(browser, publisher, letter, queue))

        await browse(place, selection, move_all, tally)


async def delete(browser: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
    """Let the broker forget the letters."""
    await _each(letters, tally, browser.ack)


async def count(_: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
    """Count the letters and leave them alone."""
    tally.done += len(letters)


async def _move(browser: Browser, publisher: Publisher, letter: Browsed, queue: str) -> None:
    await publisher.publish(encode(restarted(letter.envelope)), queue=queue).confirmed(timeout_s=CONFIRM_TIMEOUT_S)
    await browser.ack(letter)


async def _each(letters: Sequence[Browsed], tally: Tally, deal_with: Callable[[Browsed], Awaitable[None]]) -> None:
    """Deal with all letters at once; where one fails, the others end first and are counted."""
    results = await asyncio.gather(*(deal_with(letter) for letter in letters), return_exceptions=True)
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
