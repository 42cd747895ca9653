"""Through a flow's dead queue, share by share: what replay, purge and export have in common."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eventflow.amqp.browser import Held, Reader, reading
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
    """How far a walk has come: counted as it goes, so that it can be told where the walk fails half-way."""

    seen: int = 0
    done: int = 0


Action = Callable[[Reader, Sequence[Held], Tally], Awaitable[None]]
"""Deals with the selected letters of a share, counting in the tally what is done."""


async def first(
    place: Place, selection: Selection, limit: int, *, at_most: int | None = None
) -> tuple[list[Held], int]:
    """Return the first selected letters, at most `limit`, and how many letters there are, or `at_most` to look at.

    Raises:
        BrokerUnavailableError: The broker cannot be used.
    """
    found: list[Held] = []
    async with (
        connected(place.settings.broker.urls) as link,
        reading(link.connection, dead_queue(place.flow), at_most=at_most) as reader,
    ):
        depth = reader.left
        while len(found) < limit and (share := await reader.read(place.share)):
            found += [letter for letter in share if selection.has(letter)]
    return found[:limit], depth


async def walk(place: Place, selection: Selection, action: Action, tally: Tally, *, at_most: int | None = None) -> None:
    """Visit every letter that is there now once, and act on the selected ones; what is not acked stays, in order.

    It ends whatever arrives meanwhile: what comes later stands behind.

    Raises:
        EventFlowError: The broker cannot be used any more; letters that were not acked are still dead.
    """
    async with (
        connected(place.settings.broker.urls) as link,
        reading(link.connection, dead_queue(place.flow), at_most=at_most) as reader,
    ):
        with _progress() as progress:
            bar = progress.add_task(dead_queue(place.flow), total=reader.left)
            while share := await reader.read(place.share):
                tally.seen += len(share)
                await action(reader, [letter for letter in share if selection.has(letter)], tally)
                progress.update(bar, completed=tally.seen)


async def replay(place: Place, selection: Selection, tally: Tally) -> None:
    """Move the selected letters to the replay lane, their attempts starting anew.

    A letter is acked only after its copy is confirmed: a crash in between duplicates and never loses.

    Raises:
        EventFlowError: A copy was not confirmed, or the broker cannot be used any more.
    """
    urls, queue = place.settings.broker.urls, lane_queue(place.flow, Lane.REPLAY)
    async with publishing(urls, ingest_specs(place.flow)) as publisher:

        async def move_all(reader: Reader, letters: Sequence[Held], tally: Tally) -> None:
            await _each(letters, tally, lambda letter: _move(reader, publisher, letter, queue))

        await walk(place, selection, move_all, tally)


async def delete(reader: Reader, letters: Sequence[Held], tally: Tally) -> None:
    """Let the broker forget the letters."""
    await _each(letters, tally, reader.ack)


async def count(_: Reader, letters: Sequence[Held], tally: Tally) -> None:
    """Count the letters and leave them alone."""
    tally.done += len(letters)


async def _move(reader: Reader, publisher: Publisher, letter: Held, queue: str) -> None:
    await publisher.publish(encode(restarted(letter.envelope)), queue=queue).confirmed(timeout_s=CONFIRM_TIMEOUT_S)
    await reader.ack(letter)


async def _each(letters: Sequence[Held], tally: Tally, deal_with: Callable[[Held], Awaitable[None]]) -> None:
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
