"""The collector's durable local buffer: events that the broker does not confirm are kept on disk until it does (ADR 5).

Each worker process writes and empties a file of its own, and adopts the files of workers that have ended. The layers
from top to bottom: `spool`, `sender`, `file` (the thread), `directory` (its room). The database and the locks are in
`eventflow.spool`.

Nothing here touches the disk on the event loop, and every wait for the disk is bounded. So if its disk hangs, a
collector continues as one without a spool (ADR 26).
"""

import asyncio
import time
from contextlib import suppress
from datetime import datetime
from typing import Literal

import structlog

from eventflow.amqp.publisher import Publisher
from eventflow.control.reports import SpoolReport
from eventflow.errors import SettingsError
from eventflow.event import utc_now
from eventflow.message import Message
from eventflow.spool.claims import Claim
from eventflow.spool.store import Record, SpoolUnavailableError
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.metrics import count_of
from eventflow.telemetry.tracing import Tracer
from eventflow_collector.metrics import CollectorMetrics
from eventflow_collector.spool.directory import SpoolDirectory
from eventflow_collector.spool.file import ANSWER_WITHIN_S, SpoolFile
from eventflow_collector.spool.sender import SpoolSender
from eventflow_collector.spool.thread import on_thread
from eventflow_collector.spool.work import Unresolved

ADOPT_EVERY_S = 2.0
MEASURE_EVERY_S = 0.25
DRAIN_POLL_S = 0.02

State = Literal["empty", "draining", "spooling", "full", "stuck"]
"""`full`: it takes no more events; `stuck`: its disk does not answer; `draining`: it holds events and sends them."""

log = structlog.stdlib.get_logger()


class Spool:
    """One worker's part of the spool.

    Guarantee: `put` returns only after the event is on disk; it stays there until the broker has confirmed it, over any
    number of crashes and restarts, and may then have been sent more than once.
    """

    def __init__(
        self,
        directory: SpoolDirectory,
        *,
        publisher: Publisher,
        metrics: CollectorMetrics,
        tracer: Tracer,
        confirm_timeout_s: float,
    ) -> None:
        """Take the parts; nothing is on disk before `open`."""
        self._directory = directory
        self._publisher = publisher
        self._metrics = metrics
        self._tracer = tracer
        self._confirm_timeout_s = confirm_timeout_s
        self._metrics.spool_max_bytes.set(directory.max_bytes)
        self._claiming: asyncio.Future[Claim] | None = None
        self._claiming_since_s = 0.0
        self._own: SpoolFile | None = None
        self._files: list[SpoolFile] = []
        self._logged: State = "empty"
        self._search_due = asyncio.Event()
        self._search_done = asyncio.Event()
        self._sent_before_drain: float | None = None

    @property
    def is_preferred(self) -> bool:
        """Whether an event should be kept at once: a publish that is started now would not be confirmed in time."""
        return not self._can_send()

    @property
    def state(self) -> State:
        """Its state now."""
        if self._is_stuck:
            return "stuck"
        if self._own is None or not self._own.is_open or self._own.is_full:
            return "full"
        if self.is_preferred:
            return "spooling"
        return "draining" if any(file.usage.events for file in self._files) else "empty"

    async def open(self) -> None:
        """Claim a file and open it, so that events can be kept.

        If the disk fails, or does not answer in time, `run` tries again. Meanwhile no event can be kept.

        Raises:
            SettingsError: The directory cannot be used until a person changes it.
        """
        claiming = self._claim_own()
        await asyncio.wait({claiming}, timeout=ANSWER_WITHIN_S)
        if not claiming.done():
            return
        try:
            self._own = self._open(claiming.result())
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._own.opened()
        except SpoolUnavailableError:
            self._claiming = None  # its claim, if there was one, is released by now
        except TimeoutError:
            return

    async def put(
        self, message: Message, *, queue: str, accepted_at: datetime, unresolved: Unresolved | None = None
    ) -> None:
        """Keep an event until the broker has confirmed it.

        Args:
            message: The event's message.
            queue: The queue that it goes to.
            accepted_at: Time of acceptance of the event.
            unresolved: An earlier publish of it that may still be confirmed; no other is started until it is resolved.

        Raises:
            SpoolError: It is not kept.
        """
        if self._own is None:
            raise SpoolUnavailableError("the spool has no file yet")
        record = Record(queue=queue, message=message, accepted_at=accepted_at)
        await self._own.put(record, unresolved=unresolved)

    async def run(self) -> None:
        """Send, adopt and measure until cancelled.

        Raises:
            Exception: The thread of a file has failed, because of a bug.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._measure_regularly())
            own = await self._own_file()
            tasks.create_task(own.until_failed())
            tasks.create_task(self._sender(own).run())
            while True:
                is_requested = await _is_set_within(self._search_due, ADOPT_EVERY_S)
                self._search_due.clear()
                for file in await self._adopt():
                    tasks.create_task(self._empty_and_remove(file))
                if is_requested:
                    self._search_done.set()

    async def drain(self, *, within_s: float) -> None:
        """Wait until every event is sent, but at most `within_s`. Call it while `run` runs and no event is put.

        If the broker is away, it waits for the broker: this process cannot know whether another one will ever use its
        directory, and a broker that restarts is back within seconds. It does not wait if only a person can help: if
        the user lacks a right, if the disk does not answer, or if events are larger than the broker accepts.

        The files of processes that have ended are included, also those of workers that end meanwhile.
        """
        self._sent_before_drain = count_of(self._metrics.spool_sent)
        self._metrics.spool_stopping.set(1)
        if events := self.report().events:
            log.info("spool.drain_started", events=events, broker=self._publisher.state, within_s=within_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._until_drained()

    async def until_resolved(self, *, within_s: float) -> None:
        """Wait until no publish of its events is unresolved, but at most `within_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                for file in self._files:
                    await file.until_resolved()

    async def close(self) -> None:
        """Finish the work in hand and leave the files, with their events, to the next start or to an operator."""
        await asyncio.gather(*(file.close() for file in self._files))
        if self._sent_before_drain is not None:
            self._log_end(sent=int(count_of(self._metrics.spool_sent) - self._sent_before_drain))
        self._files.clear()

    def measure(self) -> None:
        """Update the metrics, and log a change of state."""
        report, state = self.report(), self.state
        self._metrics.spool_events.set(report.events)
        self._metrics.spool_set_aside_events.set(report.set_aside)
        self._metrics.spool_bytes.set(report.size_bytes)
        self._metrics.spool_oldest_seconds.set(report.oldest_s)
        self._metrics.spool_failing.set(report.failing)
        if not report.events and state not in {"full", "stuck"}:
            state = "empty"  # `spooling` without an event is not worth a log line
        if state != self._logged:
            self._log(state, events=report.events)
            self._logged = state

    def report(self) -> SpoolReport:
        """Return the present state, for `eventflow status`."""
        usages = [file.usage for file in self._files]
        oldest = min((usage.oldest for usage in usages if usage.oldest is not None), default=None)
        return SpoolReport(
            state=self.state,
            events=sum(usage.events for usage in usages),
            set_aside=sum(usage.set_aside for usage in usages),
            size_bytes=sum(usage.size_bytes for usage in usages),
            oldest_s=0.0 if oldest is None else (utc_now() - oldest).total_seconds(),
            failing=self._is_failing,
        )

    @property
    def _is_stuck(self) -> bool:
        if self._own is not None:
            return self._own.is_stuck
        if self._claiming is None or self._claiming.done():
            return False
        return time.monotonic() - self._claiming_since_s > ANSWER_WITHIN_S

    @property
    def _is_failing(self) -> bool:
        return self._own is None or self._own.is_stuck or self._own.is_failing

    async def _until_drained(self) -> None:
        while not self._is_hopeless:
            if not all(file.is_drained for file in self._files):
                await asyncio.sleep(DRAIN_POLL_S)
                continue
            # Only a search that begins after our files are empty finds those of workers that have died until now.
            self._search_done.clear()
            self._search_due.set()
            await self._search_done.wait()
            if all(file.is_drained for file in self._files):
                return

    @property
    def _is_hopeless(self) -> bool:
        """Whether no event can be sent until a person changes something."""
        return self._own is None or self._is_stuck or self._publisher.state == "refused"

    async def _own_file(self) -> SpoolFile:
        """Return our own file, once there is one."""
        is_logged = False
        while self._own is None:
            try:
                self._own = self._open(await (self._claiming or self._claim_own()))
            except (SettingsError, SpoolUnavailableError) as error:
                # Also for a wrong setting: the collector serves already, and is of use without a spool.
                if not is_logged:
                    log.error("spool.failed", reason=str(error))  # noqa: TRY400 - expected: its message is enough
                    is_logged = True
                self._claiming = None
                await asyncio.sleep(ADOPT_EVERY_S)
        return self._own

    def _claim_own(self) -> "asyncio.Future[Claim]":
        self._claiming = on_thread(self._directory.claim_own, name="spool-claim")
        self._claiming_since_s = time.monotonic()
        return self._claiming

    def _can_send(self) -> bool:
        return self._publisher.state == "up" and self._publisher.oldest_unresolved_s < self._confirm_timeout_s

    def _open(self, claim: Claim) -> SpoolFile:
        try:
            file = SpoolFile(
                claim,
                self._directory,
                on_changed=self.measure,
                on_confirmed=self._metrics.spool_sent.inc,
                on_corrupted=self._metrics.spool_corrupted_files.inc,
            )
        except SpoolUnavailableError:
            claim.release()
            raise
        self._files.append(file)
        return file

    def _sender(self, file: SpoolFile) -> SpoolSender:
        return SpoolSender(
            file,
            self._publisher,
            can_send=self._can_send,
            confirm_timeout_s=self._confirm_timeout_s,
            tracer=self._tracer,
        )

    async def _adopt(self) -> list[SpoolFile]:
        """Open the files of processes that have ended, as many as can be opened now."""
        try:
            claims = await on_thread(self._claim_abandoned, name="spool-adopt")
        except SpoolUnavailableError as error:
            log.warning("spool.adoption_failed", reason=str(error))
            return []
        files: list[SpoolFile] = []
        for claim in claims:
            with suppress(SpoolUnavailableError):  # its claim is released, so that the next search finds it
                files.append(self._open(claim))
        return files

    def _claim_abandoned(self) -> list[Claim]:
        claims: list[Claim] = []
        try:
            for claim in self._directory.files.claim_abandoned():
                claims.append(claim)  # noqa: PERF402 - one by one, because those before a failure are ours
        except SpoolUnavailableError as error:
            log.warning("spool.adoption_failed", reason=str(error))
        return claims

    async def _empty_and_remove(self, file: SpoolFile) -> None:
        """Send the events of an adopted file, then remove it."""
        log.info("spool.file_adopted", file=file.claim.path.name)
        sending = asyncio.create_task(self._sender(file).run())
        failing = asyncio.create_task(file.until_failed())
        try:
            while not file.is_empty:
                await asyncio.wait({sending, failing}, timeout=MEASURE_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                for task in (sending, failing):
                    if task.done():
                        task.result()
        finally:
            await cancel_and_wait(sending, failing)
        self._files.remove(file)
        if await file.close(remove=True):
            log.info("spool.file_removed", file=file.claim.path.name)

    async def _measure_regularly(self) -> None:
        while True:
            self.measure()
            await asyncio.sleep(MEASURE_EVERY_S)

    def _log_end(self, *, sent: int) -> None:
        """Log the result of `drain` in one line: the events that were sent, and those that stay, with their place."""
        directory = str(self._directory.path)
        usages = {file.claim.path.name: file.usage for file in self._files}
        events = sum(usage.events for usage in usages.values())
        set_aside = sum(usage.set_aside for usage in usages.values())
        if events + set_aside:
            log.warning(
                "spool.left",
                sent=sent,
                events=events,
                set_aside=set_aside,
                directory=directory,
                files=[name for name, usage in usages.items() if usage.events + usage.set_aside],
                advice=f"start a collector with this directory, or run: eventflow spool send {directory}",
            )
        elif sent:
            log.info("spool.drain_ended", sent=sent, directory=directory)

    def _log(self, state: State, *, events: int) -> None:
        match state:
            case "spooling":
                log.warning("spool.started", broker=self._publisher.state, events=events)
            case "stuck":
                log.error("spool.stuck", broker=self._publisher.state, events=events)
            case "full":
                log.error("spool.full", broker=self._publisher.state, events=events)
            case "draining":
                log.info("spool.draining", events=events)
            case "empty":
                log.info("spool.drained")


async def _is_set_within(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event, but at most `within_s`; return whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()
