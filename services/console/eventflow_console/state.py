"""The present state of every flow, which one watcher keeps for all viewers."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import structlog

from eventflow.control.messages import Known
from eventflow.errors import BrokerUnavailableError
from eventflow.event import utc_now
from eventflow.operations.retry_queues import leftovers
from eventflow.operations.session import Link, connected
from eventflow.operations.status.flow import FlowStatus
from eventflow.operations.status.look import Lookout, Status, looking_out
from eventflow.settings.root import Settings
from eventflow_console.intake import Intake, IntakeCounter
from eventflow_console.looks import flow_state_of
from eventflow_console.present import BrokerState, FlowState, Present

LOOK_EVERY_S: Final = 1.0
IDLE_LOOK_EVERY_S: Final = 15.0
"""Pause between two looks while no page is in use. The record by minute needs them."""

WATCHED_FOR_S: Final = 30.0
"""Time for which a page counts as in use after a request."""

FRESH_S: Final = 2.0
"""Age up to which a look is shown again. An older one is replaced by a new one, for which a view waits as long."""

RETRY_EVERY_S: Final = 1.0

UNASKED_FOR_S: Final = 15.0
"""Time after which a new connection is made, because no service could be asked over this one, as during an alarm."""

log = structlog.stdlib.get_logger()

LookListener = Callable[[Mapping[str, Intake], Present], None]
"""Called after each look that succeeded, with the events that were accepted since the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """The connection to look over, and the lookout on it."""

    link: Link
    lookout: Lookout


class State:
    """Looks at all flows: every second while a page is in use, and otherwise every 15 s."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing connects before `run`."""
        self._settings = settings
        self._flows = tuple(settings.all_flows)
        self._present = Present(
            at=None,
            broker=BrokerState(is_up=None, since=utc_now()),
            flows={name: FlowState(flow=name) for name in self._flows},
        )
        self._session: _Session | None = None
        self._intakes = {name: IntakeCounter() for name in self._flows}
        self._look_listeners: list[LookListener] = []
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._viewers = 0
        self._seen_s: float | None = None
        self._looked_s: float | None = None

    @property
    def present(self) -> Present:
        """The state at the last look."""
        return self._present

    @property
    def link(self) -> Link:
        """The connection to the broker, for short questions. Only the watcher closes it.

        Raises:
            BrokerUnavailableError: There is none now.
        """
        return self._open_session.link

    def on_look(self, listener: LookListener) -> None:
        """Call `listener` after each look that succeeded."""
        self._look_listeners.append(listener)

    async def fresh(self) -> Present:
        """Return the state for a view: of a look within the last 2 s, if the broker answers within 2 s."""
        self._note_viewer()
        with suppress(TimeoutError):
            async with asyncio.timeout(FRESH_S):
                while self._present.broker.is_up is not False and not self._is_fresh:
                    await self._changed.wait()
        return self._present

    async def changes(self) -> AsyncGenerator[Present, None]:
        """Yield the state, and then again after each look that shows a change. A slow reader misses some of them."""
        shown: Present | None = None
        with self._watched():
            while True:
                changed = self._changed  # taken first: a look between the comparison and the wait must not be missed
                if self._present != shown:
                    shown = self._present
                    yield shown
                await changed.wait()

    async def ask_why(self, flow: str, event_id: str) -> tuple[Mapping[str, Known], int]:
        """Ask the processors of a flow about an event; return their answers by name, and the number of processors.

        Raises:
            BrokerUnavailableError: They cannot be asked now.
        """
        await self.fresh()  # just after the start, the first connection is on its way
        session = self._open_session
        processors = await session.lookout.count_processors(flow)
        if not processors:
            return {}, 0
        return await session.lookout.enquiry.ask_why(flow, event_id, processors=processors), processors

    async def run(self) -> NoReturn:
        """Look until cancelled, and connect again after each loss."""
        while True:
            try:
                await self._look_on()
                continue
            except BrokerUnavailableError as error:
                self._lost(str(error))
            except Exception as error:
                # A bug here must not end the pages, which show the reason.
                log.exception("internal.error", place="state", error=repr(error))
                self._lost(f"the console meets an internal error: {type(error).__name__}")
            await asyncio.sleep(RETRY_EVERY_S)

    async def _look_on(self) -> None:
        """Connect, and look until the connection is lost; return if no service can be asked over it.

        Raises:
            BrokerUnavailableError: The broker does not answer.
        """
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(connected(self._settings.broker.urls))
            # Only once, because each check of a missing queue adds a line to the broker's log.
            old = await leftovers(link, self._settings)
            lookout = await stack.enter_async_context(looking_out(link, self._settings, self._flows, old))
            self._session = _Session(link=link, lookout=lookout)
            stack.callback(self._end_session)
            connected_s = self._now_s
            while True:
                self._wanted.clear()
                began_s = self._now_s
                self._take(await lookout.look())
                if self._present.unasked is not None and self._now_s - connected_s > UNASKED_FOR_S:
                    return
                await self._pause(began_s)

    async def _pause(self, began_s: float) -> None:
        """Wait until the next look is due: one second after the last began, or up to 15 s if no page is in use."""
        await asyncio.sleep(began_s + LOOK_EVERY_S - self._now_s)
        if not self._is_watched:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(began_s + IDLE_LOOK_EVERY_S):
                    await self._wanted.wait()

    def _take(self, status: Status) -> None:
        """Turn a look into the present state, and call the listeners."""
        self._looked_s = self._now_s
        intakes = {flow.flow: self._count_intake(flow) for flow in status.flows}
        before = self._present.flows
        self._publish(
            Present(
                at=status.at,
                broker=self._broker_state(is_up=True),
                flows={
                    flow.flow: flow_state_of(flow, intakes[flow.flow], at=status.at, before=before[flow.flow])
                    for flow in status.flows
                },
                unasked=status.unasked,
            )
        )
        for listener in self._look_listeners:
            listener(intakes, self._present)

    def _count_intake(self, flow: FlowStatus) -> Intake:
        return self._intakes[flow.flow].count(flow.collectors, at_s=self._now_s)

    def _lost(self, reason: str) -> None:
        self._looked_s = None
        self._publish(replace(self._present, broker=self._broker_state(is_up=False, reason=reason)))

    def _broker_state(self, *, is_up: bool, reason: str | None = None) -> BrokerState:
        before = self._present.broker
        if before.is_up is is_up:
            return replace(before, reason=reason)
        log.info("console.broker_found") if is_up else log.warning("console.broker_lost", reason=reason)
        return BrokerState(is_up=is_up, since=utc_now(), reason=reason)

    def _publish(self, present: Present) -> None:
        self._present = present
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _end_session(self) -> None:
        self._session = None

    @property
    def _open_session(self) -> _Session:
        if self._session is None:
            raise BrokerUnavailableError(self._present.broker.reason or "no connection to the broker yet")
        return self._session

    @property
    def _is_fresh(self) -> bool:
        return self._looked_s is not None and self._now_s - self._looked_s <= FRESH_S

    @property
    def _is_watched(self) -> bool:
        return self._viewers > 0 or (self._seen_s is not None and self._now_s - self._seen_s < WATCHED_FOR_S)

    @property
    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _note_viewer(self) -> None:
        self._seen_s = self._now_s
        self._wanted.set()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._note_viewer()
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1
