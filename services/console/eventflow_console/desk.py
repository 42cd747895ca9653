"""The parts that pages and API work with."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Self

from aiohttp import web

from eventflow.history.store import HistoryStore
from eventflow.settings.root import Settings
from eventflow_console.actions import Actions
from eventflow_console.dead_letters import DeadLetters
from eventflow_console.flow_minutes import FlowMinutes
from eventflow_console.history import History
from eventflow_console.jobs import Jobs
from eventflow_console.live import Streams
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.rows import RowStreams
from eventflow_console.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts that every view reads.

    Attributes:
        minutes: The backlog of each flow in the last hour.
        streams: The open streams of live pages.
        rows: The open streams of rows.
        stopping: Set when the console ends, so that endless answers end too.
    """

    settings: Settings
    history: History
    state: State
    dead_letters: DeadLetters
    jobs: Jobs
    actions: Actions
    minutes: FlowMinutes
    streams: Streams
    rows: RowStreams
    stopping: asyncio.Event

    @classmethod
    def of(
        cls, settings: Settings, *, store: HistoryStore | None, metrics: ConsoleMetrics, stopping: asyncio.Event
    ) -> Self:
        """Wire the parts. None connects before `duties` run, or before it is asked."""
        history, state = History(store, metrics), State(settings)
        dead_letters = DeadLetters(settings, state)
        jobs = Jobs(settings, dead_letters)
        minutes = FlowMinutes(settings.all_flows, store)
        state.on_look(minutes.on_look)
        return cls(
            settings=settings,
            history=history,
            state=state,
            dead_letters=dead_letters,
            jobs=jobs,
            actions=Actions(settings, dead_letters=dead_letters, jobs=jobs, record=history.record),
            minutes=minutes,
            streams=Streams(stopping, metrics.streams.labels(kind="live")),
            rows=RowStreams(stopping, metrics.streams.labels(kind="rows")),
            stopping=stopping,
        )

    @property
    def flows(self) -> tuple[str, ...]:
        """The names of all flows."""
        return tuple(self.settings.all_flows)

    @property
    def read_only(self) -> bool:
        """Whether every change is refused, so that no view offers one."""
        return self.settings.console.read_only

    def duties(self) -> list[Coroutine[Any, Any, None]]:
        """Return the endless tasks of the console: the looks at the flows, and their record by minute."""
        return [self.state.run(), self.minutes.run()]


DESK: Final = web.AppKey("desk", Desk)
