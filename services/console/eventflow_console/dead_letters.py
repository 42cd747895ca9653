"""The dead letters of each flow, for one reader at a time.

Dead letters that one reader holds are hidden from all others. So two readers in this console would each see a part of
the queue. Other consoles and commands can still read at the same time.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from eventflow.amqp.browser import Browsed, Browser
from eventflow.errors import BusyError
from eventflow.operations.dead.browse import Bounds, DeadQueue, DeadTally, Found, browse, first
from eventflow.operations.dead.letters import record_of, shown_reason, summary_of
from eventflow.operations.dead.selection import Selection
from eventflow.operations.session import Link
from eventflow.settings.root import Settings
from eventflow.tasks import finished
from eventflow_console.state import State

SEARCH: Final = Bounds(letters=10_000, time_s=2.0)
"""Bounds of a search for a page. Reading 10 000 small dead letters takes 1.5 s."""

TURN_WITHIN_S: Final = 3.0
"""Longest wait of a page for its turn. One search before it ends within this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadPage:
    """The oldest dead letters of a selection.

    Attributes:
        letters: Each as a JSON object, with the size of its body in place of the body.
        searched: Number of dead letters that were read, from the oldest.
        total: Number of dead letters of the flow.
    """

    letters: Sequence[Mapping[str, Any]]
    searched: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadCount:
    """The number of dead letters in a selection.

    Attributes:
        selected: Number of selected ones among those that were read.
        reasons: The same by reason, the most frequent first.
        types: The same by type of the event, the most frequent first.
        searched: Number of dead letters that were read, from the oldest.
        total: Number of dead letters of the flow.
    """

    selected: int
    reasons: Mapping[str, int]
    types: Mapping[str, int]
    searched: int
    total: int

    @property
    def is_complete(self) -> bool:
        """Whether all dead letters were read; if not, more may be selected."""
        return self.searched >= self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadEvent:
    """The search for the dead letter of one event.

    Attributes:
        letter: The dead letter as a JSON object, as `eventflow dead export` writes it; None if it was not found.
        searched: Number of dead letters that were read, from the oldest.
        total: Number of dead letters of the flow.
    """

    letter: Mapping[str, Any] | None
    searched: int
    total: int

    @property
    def is_complete(self) -> bool:
        """Whether the answer is certain: the dead letter was found, or all were read."""
        return self.letter is not None or self.searched >= self.total


@dataclass(slots=True)
class _Turn:
    """The turn to read the dead letters of a flow.

    Attributes:
        reader: A sentence about a reader that takes longer than others want to wait.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    reader: str | None = None

    def end(self) -> None:
        """Give the turn to the next reader."""
        self.reader = None
        self.lock.release()


class DeadLetters:
    """Searches the dead letters for pages, over the connection of the watcher. Longer operations take turns too."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._state = state
        self._queues = {flow: DeadQueue.of(settings, flow) for flow in settings.all_flows}
        self._turns = {flow: _Turn() for flow in self._queues}

    async def find(self, flow: str, event_id: str) -> DeadEvent:
        """Search the dead letter of an event.

        Raises:
            BusyError: Another operation reads the dead letters of the flow.
            BrokerUnavailableError: The broker cannot be used.
        """
        found = await self._first(flow, Selection(ids=frozenset({event_id})), 1, record_of)
        letter = found.letters[0] if found.letters else None
        return DeadEvent(letter=letter, searched=found.searched, total=found.total)

    async def page(self, flow: str, selection: Selection, *, limit: int) -> DeadPage:
        """Return the oldest dead letters of a selection. The errors are those of `find`."""
        found = await self._first(flow, selection, limit, summary_of)
        return DeadPage(letters=found.letters, searched=found.searched, total=found.total)

    async def count(self, flow: str, selection: Selection) -> DeadCount:
        """Count the dead letters of a selection. The errors are those of `find`."""
        reasons: Counter[str] = Counter()
        types: Counter[str] = Counter()

        async def add(_: Browser, letters: Sequence[Browsed], tally: DeadTally) -> None:
            reasons.update(map(shown_reason, letters))
            types.update(letter.envelope.event.type for letter in letters)
            tally.done += len(letters)

        tally = DeadTally()
        async with self._searching(flow) as link:
            await finished(browse(link, self._queues[flow], selection, add, tally, bounds=SEARCH))
        return DeadCount(
            selected=tally.done,
            reasons=dict(reasons.most_common()),
            types=dict(types.most_common()),
            searched=tally.seen,
            total=tally.total,
        )

    def queue(self, flow: str) -> DeadQueue:
        """Return the dead queue of a flow."""
        return self._queues[flow]

    async def take_turn(self, flow: str, *, reader: str | None = None) -> Callable[[], None]:
        """Wait until nothing else here reads the dead letters of a flow; return a function that ends the turn.

        Args:
            flow: The flow.
            reader: A sentence for others about a reader that may take long: they are refused at once.

        Raises:
            BusyError: A reader that takes long has them, or the others did not end within 3 s.
        """
        turn = self._turns[flow]
        if turn.reader is not None:
            raise BusyError(turn.reader)
        try:
            async with asyncio.timeout(TURN_WITHIN_S):
                await turn.lock.acquire()
        except TimeoutError:
            raise BusyError(turn.reader or f"Other pages search the dead letters of flow {flow}. Try again.") from None
        turn.reader = reader
        return turn.end

    async def _first(
        self, flow: str, selection: Selection, limit: int, form: Callable[[Browsed], dict[str, Any]]
    ) -> Found[dict[str, Any]]:
        async with self._searching(flow) as link:
            # To its end, also if the page is closed: a search that is cancelled would lose the connection of the
            # watcher, and its dead letters would be missing in the next search.
            return await finished(first(link, self._queues[flow], selection, limit, form=form, bounds=SEARCH))

    @asynccontextmanager
    async def _searching(self, flow: str) -> AsyncIterator[Link]:
        end_turn = await self.take_turn(flow)
        try:
            await self._state.fresh()  # just after the start, the first connection is on its way
            yield self._state.link
        finally:
            end_turn()
