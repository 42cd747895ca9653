"""Sends what is in a spool file to the broker, in order, whenever a publish can be confirmed."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.errors import BrokerUnavailableError, MessageTooLargeError, PublishError, PublishTimeoutError
from eventflow.message import ID
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import Tracer
from eventflow_collector.spool.file import SpoolFile
from eventflow_collector.spool.store import Row
from eventflow_collector.tracing import publishing_from_spool

POLL_S = 0.2
REFUSED_PAUSE_MIN_S = 1.0
REFUSED_PAUSE_MAX_S = 30.0

log = structlog.stdlib.get_logger()


class SpoolSender:
    """The only one that sends what is in one file.

    Guarantee: a row is deleted only after the confirm of its publish. A row that the broker refuses stays; those behind
    it are sent all the same, and it is tried again after a growing pause. A row that is too large for the broker is set
    aside until the next connect, when the limit may be another (ADR 17). A crash may send again what was confirmed just
    before it. Live publishes go on meanwhile, in between.
    """

    def __init__(
        self,
        file: SpoolFile,
        publisher: Publisher,
        *,
        can_send: Callable[[], bool],
        confirm_timeout_s: float,
        tracer: Tracer,
    ) -> None:
        """Prepare to drain `file` whenever `can_send`."""
        self._file = file
        self._publisher = publisher
        self._can_send = can_send
        self._confirm_timeout_s = confirm_timeout_s
        self._tracer = tracer

    async def run(self) -> None:
        """Drain for ever."""
        pause_s = 0.0
        while True:
            await self._until_due()
            refused = await self._pass()
            pause_s = min(REFUSED_PAUSE_MAX_S, max(REFUSED_PAUSE_MIN_S, 2 * pause_s)) if refused else 0.0
            await asyncio.sleep(pause_s or POLL_S)

    async def _until_due(self) -> None:
        while True:
            if self._can_send():
                if self._file.usage.set_aside and self._publisher.max_bytes is None:  # as after each connect
                    self._file.readmit()
                if self._file.sendable_events:
                    return
            await asyncio.sleep(POLL_S)

    async def _pass(self) -> int:
        """Send the file's rows from the first to the last, one window after the other; return how many were refused."""
        refused, after = 0, 0
        while self._can_send() and (rows := await self._file.read(after=after)):
            after = rows[-1].seq
            refused += await self._settled(self._send(rows))
        if refused:
            log.warning("spool.events_refused", file=self._file.claim.path.name, events=refused)
        return refused

    def _send(self, rows: Iterable[Row]) -> list[Publication]:
        """Start to publish rows, as many as the broker takes now."""
        window = []
        for row in rows:
            try:
                publication = self._publisher.publish(row.record.message, queue=row.record.queue)
            except BrokerUnavailableError:
                break
            except MessageTooLargeError as error:
                self._set_aside(row, error)
                continue
            self._file.hold(row.seq, publication)
            self._trace(row, publication)
            window.append(publication)
        return window

    def _set_aside(self, row: Row, error: MessageTooLargeError) -> None:
        self._file.set_aside(row.seq)
        log.error(
            "spool.event_set_aside",
            file=self._file.claim.path.name,
            seq=row.seq,
            event_id=shown_id(str(row.record.message.headers.get(ID, ""))),
            body_bytes=len(row.record.message.body),
            max_bytes=error.max_bytes,
        )

    def _trace(self, row: Row, publication: Publication) -> None:
        span = publishing_from_spool(self._tracer, row.record.message, queue=row.record.queue)
        if span.trace_id is not None:
            publication.on_resolved(lambda: span.end(error=None if publication.is_confirmed else "unconfirmed"))

    async def _settled(self, window: Iterable[Publication]) -> int:
        """Wait until a window is resolved, or the broker stalls; return how many of it were refused."""
        refused = 0
        for publication in window:
            try:
                await publication.confirmed(timeout_s=self._confirm_timeout_s)
            except MessageTooLargeError:
                continue  # the next pass sets it aside
            except PublishTimeoutError:
                break  # held as long as it is unresolved, like those behind it
            except PublishError:
                refused += 1
            except BrokerUnavailableError:
                continue
        return refused
