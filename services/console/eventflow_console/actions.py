"""Actions of an operator: each is done first, and then put on record with the operator, the time and the details."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Final

import structlog

from eventflow.amqp.browser import Browsed, Browser
from eventflow.control.overrides import Overrides
from eventflow.errors import EventFlowError
from eventflow.event import utc_now
from eventflow.history.records import Action
from eventflow.operations.dead.browse import Bounds, DeadTally, browse
from eventflow.operations.dead.exports import exported
from eventflow.operations.dead.selection import Selection, in_words
from eventflow.operations.history.actions import new_action
from eventflow.operations.overrides import change_overrides, require_rate
from eventflow.operations.session import connected
from eventflow.settings.root import Settings
from eventflow.tasks import cancel_and_wait
from eventflow_console.dead_letters import DeadLetters
from eventflow_console.jobs import Job, Jobs

EXPORT_MAX_S: Final = 900.0
"""Longest time of an export: after 30 minutes RabbitMQ requeues messages that are not acked."""

EXPORT_STALLED_S: Final = 30.0
"""Longest wait for a client that reads nothing. Meanwhile the dead letters are hidden from all others."""

log = structlog.stdlib.get_logger()

Record = Callable[[Action], Awaitable[None]]
"""Puts an action on record, within seconds and as far as it can; never raises."""


class Actions:
    """Pauses, resumes, sets rates, replays and exports. Every method names the operator in `by`."""

    def __init__(self, settings: Settings, *, dead_letters: DeadLetters, jobs: Jobs, record: Record) -> None:
        self._urls = settings.broker.urls
        # All overrides of a flow are one message, which a change reads and replaces. So one change after the other.
        self._changing = {flow: asyncio.Lock() for flow in settings.all_flows}
        self._dead_letters = dead_letters
        self._jobs = jobs
        self._record = record

    async def pause(self, flow: str, *, by: str) -> Overrides:
        """Stop sending to the target of a flow; return the overrides now.

        Raises:
            BrokerUnavailableError: The broker has not confirmed the change.
        """
        overrides = await self._change(flow, lambda current: current.pause(at=utc_now(), by=by))
        await self._acted("pause", flow, by)
        return overrides

    async def resume(self, flow: str, *, by: str) -> Overrides:
        """Continue sending to the target of a flow. The rest is as for `pause`."""
        overrides = await self._change(flow, Overrides.resume)
        await self._acted("resume", flow, by)
        return overrides

    async def set_rate(self, flow: str, per_s: float | None, *, by: str) -> Overrides:
        """Set a rate in place of the configured one; None removes it. The rest is as for `pause`.

        Raises:
            InvalidInputError: The rate is out of range.
        """
        rate_per_s = None if per_s is None else require_rate(per_s)
        overrides = await self._change(flow, lambda current: replace(current, rate_per_s=rate_per_s))
        await self._acted("rate", flow, by, "as configured" if per_s is None else f"{per_s:g}/s")
        return overrides

    async def replay(self, flow: str, selection: Selection, *, by: str) -> Job:
        """Start to send the selected dead letters again.

        Raises:
            BusyError: Another operation reads the dead letters of the flow.
        """
        job = await self._jobs.replay(flow, selection, by=by)
        await self._acted("replay", flow, by, in_words(selection))
        return job

    @asynccontextmanager
    async def exporting(self, flow: str, selection: Selection, *, by: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the selected dead letters as NDJSON, some lines at a time, the oldest first. They stay in the queue.

        Raises:
            BusyError: Another operation reads the dead letters of the flow.
            EventFlowError: The broker failed, or the reader was too slow: the lines are incomplete.
        """
        reader = f"An export that {by} has started reads the dead letters of flow {flow}. Try again when it has ended."
        end_turn = await self._dead_letters.take_turn(flow, reader=reader)
        # Read by a task of its own: while the reader of the lines is slow, the dead letters are released in time.
        chunks: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
        reading = asyncio.create_task(self._read(flow, selection, chunks))
        reading.add_done_callback(lambda _: end_turn())
        try:
            await self._acted("export", flow, by, in_words(selection))
            async with aclosing(_until_done(chunks, reading)) as lines:
                yield lines
        finally:
            await cancel_and_wait(reading)

    async def _read(self, flow: str, selection: Selection, chunks: "asyncio.Queue[bytes]") -> None:
        tally = DeadTally()

        async def put(_: Browser, letters: Sequence[Browsed], tally: DeadTally) -> None:
            tally.done += len(letters)
            if not letters:
                return
            lines = "".join(json.dumps(exported(letter, flow)) + "\n" for letter in letters)
            try:
                async with asyncio.timeout(EXPORT_STALLED_S):
                    await chunks.put(lines.encode())
            except TimeoutError:
                raise EventFlowError(f"the reader of the export took nothing for {EXPORT_STALLED_S:g} s") from None

        queue = self._dead_letters.queue(flow)
        async with connected(self._urls) as link:
            await browse(link, queue, selection, put, tally, bounds=Bounds(time_s=EXPORT_MAX_S))
        if tally.seen < tally.total:
            raise EventFlowError(f"the export took longer than {EXPORT_MAX_S / 60:g} min: use `eventflow dead export`")

    async def _change(self, flow: str, changed: Callable[[Overrides], Overrides]) -> Overrides:
        async with self._changing[flow], connected(self._urls) as link:
            change = await change_overrides(link, flow, changed)
        if change.replaced is not None:
            log.warning("overrides.replaced", flow=flow, reason=str(change.replaced))
        return change.overrides

    async def _acted(self, kind: str, flow: str, by: str, detail: str = "") -> None:
        log.info("operator.acted", kind=kind, flow=flow, by=by, detail=detail)
        await self._record(new_action(kind, by=by, flow=flow, detail=detail))


async def _until_done(chunks: "asyncio.Queue[bytes]", reading: "asyncio.Task[None]") -> AsyncGenerator[bytes, None]:
    """Yield the chunks in a queue until the task that fills it has ended; then raise its error if there is one."""
    while not (reading.done() and chunks.empty()):
        getting = asyncio.create_task(chunks.get())
        await asyncio.wait({getting, reading}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            yield getting.result()
        else:
            await cancel_and_wait(getting)
    reading.result()
