"""The past of each flow by minute: accepted events and backlog, in the store, or for an hour in memory."""

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol

import structlog

from eventflow.errors import HistoryError
from eventflow.history.records import FlowMinute
from eventflow_console.intake import Intake
from eventflow_console.present import FlowState, Present

MINUTE: Final = timedelta(minutes=1)
KEPT: Final = 60
"""Minutes of each flow in memory. A minute that could not be written is tried again while it is among them."""

WRITE_MAX_S: Final = 5.0

log = structlog.stdlib.get_logger()


class MinuteStore(Protocol):
    """The part of a store that takes minutes."""

    async def put_flow_minutes(self, minutes: Collection[FlowMinute]) -> None:
        """Write the backlogs of flows. In a minute that is on record, an unknown value replaces no known one."""
        ...


@dataclass(slots=True)
class _OpenMinute:
    """A minute that is not complete yet.

    Attributes:
        is_whole: Whether the accepted events of the whole minute are counted. Of several consoles one may just have
            started, and its part must not replace the count of another.
        accepted: None if no collector has reported any number. A collector that answers late adds to a later minute.
    """

    is_whole: bool
    accepted: float | None = None
    last: FlowState | None = None


class FlowMinutes:
    """Takes each look, and writes each minute when it is over."""

    def __init__(self, flows: Collection[str], store: MinuteStore | None) -> None:
        self._store = store
        self._past: dict[str, deque[FlowMinute]] = {flow: deque(maxlen=KEPT) for flow in flows}
        self._open: dict[str, dict[datetime, _OpenMinute]] = {flow: {} for flow in flows}
        self._unwritten: dict[tuple[str, datetime], FlowMinute] = {}
        self._is_over = asyncio.Event()
        self._last_at: datetime | None = None
        self._is_failing = False

    def recent(self, flow: str, *, since: datetime, until: datetime) -> Sequence[FlowMinute]:
        """Return the minutes that begin in a range of time, of the last hour."""
        return [minute for minute in self._past[flow] if since <= minute.at < until]

    def on_look(self, intakes: Mapping[str, Intake], present: Present) -> None:
        """Take a look."""
        at = present.at
        if at is None:
            return
        if self._last_at is not None and at <= self._last_at:  # the clock was set back
            self._last_at = None
            self._open = {flow: {} for flow in self._open}
        for flow, state in present.flows.items():
            self._take(flow, intakes[flow].accepted, state, at)
        self._last_at = at

    async def run(self) -> NoReturn:
        """Write the minutes that are over, until cancelled."""
        while True:
            await self._is_over.wait()
            self._is_over.clear()
            if self._store is not None and self._unwritten:
                await self._write(self._store)

    def _take(self, flow: str, accepted: int | None, state: FlowState, at: datetime) -> None:
        minutes = self._open[flow]
        now = _minute_of(at)
        for minute, share in _shares(self._last_at, at):
            is_whole = self._last_at is not None and self._last_at <= minute
            counted = minutes.setdefault(minute, _OpenMinute(is_whole=is_whole))
            if accepted is not None:
                counted.accepted = (counted.accepted or 0.0) + accepted * share
        minutes[now].last = state
        for minute in sorted(minute for minute in minutes if minute < now):
            self._close(_closed(flow, minute, minutes.pop(minute)))

    def _close(self, minute: FlowMinute) -> None:
        self._past[minute.flow].append(minute)
        self._unwritten[minute.flow, minute.at] = minute
        for oldest in list(self._unwritten)[: -KEPT * len(self._past)]:
            del self._unwritten[oldest]
        self._is_over.set()

    async def _write(self, store: MinuteStore) -> None:
        minutes = dict(self._unwritten)
        try:
            async with asyncio.timeout(WRITE_MAX_S):
                await store.put_flow_minutes(list(minutes.values()))
        except (HistoryError, TimeoutError) as error:
            if not self._is_failing:
                log.warning("history.flow_minutes_unwritten", reason=str(error) or f"no answer in {WRITE_MAX_S:g} s")
            self._is_failing = True
            return
        self._is_failing = False
        for key, minute in minutes.items():
            if self._unwritten.get(key) is minute:
                del self._unwritten[key]


def _closed(flow: str, at: datetime, counted: _OpenMinute) -> FlowMinute:
    accepted = round(counted.accepted) if counted.is_whole and counted.accepted is not None else None
    last = counted.last
    if last is None:
        return FlowMinute(flow=flow, at=at, accepted=accepted)
    return FlowMinute(
        flow=flow,
        at=at,
        accepted=accepted,
        waiting=last.waiting,
        dead=last.dead,
        oldest_s=last.oldest_s,
        spooled=None if last.spool is None else last.spool.events,
    )


def _shares(since: datetime | None, until: datetime) -> Iterator[tuple[datetime, float]]:
    """Yield the minutes of a range of time, of the last hour at most, and the share that each has of the range."""
    if since is None:
        yield _minute_of(until), 1.0
        return
    minute = max(_minute_of(since), _minute_of(until) - KEPT * MINUTE)
    while minute <= until:
        share = (min(until, minute + MINUTE) - max(since, minute)) / (until - since)
        yield minute, share
        minute += MINUTE


def _minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
