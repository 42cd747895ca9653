"""Send the events in a spool file to the broker, in order, while publishes can be confirmed."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.errors import (
    BrokerUnavailableError,
    HeadersTooLargeError,
    MessageTooLargeError,
    PublishError,
    PublishTimeoutError,
)
from eventflow.message import ID
from eventflow.spool.store import Row
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import Tracer
from eventflow_collector.spool.file import SpoolFile
from eventflow_collector.tracing import publishing_from_spool

POLL_S = 0.2
REFUSED_PAUSE_MIN_S = 1.0
REFUSED_PAUSE_MAX_S = 30.0

log = structlog.stdlib.get_logger()


class SpoolSender:
    """Sends the events of one file. There is one sender for each file.

    Guarantee: a row is deleted only after the confirm of its publish. A row that the broker refuses stays; the rows
    after it are sent all the same, and it is tried again after a growing pause. A row that is too large for the broker
    is set aside until the next connect, when the limit may have changed (ADR 17). After a crash, rows that were
    confirmed just before it may be sent again. Live publishes continue between those of the file.
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
        """Take the parts.

        Args:
            file: Its rows are sent.
            publisher: Sends them.
            can_send: Returns whether a publish that is started now would be confirmed in time.
            confirm_timeout_s: The longest wait for one confirm before the next pass.
            tracer: Traces each publish.
        """
        self._file = file
        self._publisher = publisher
        self._can_send = can_send
        self._confirm_timeout_s = confirm_timeout_s
        self._tracer = tracer

    async def run(self) -> None:
        """Send until cancelled."""
        pause_s = 0.0
        while True:
            await self._until_due()
            refused = await self._pass()
            pause_s = min(REFUSED_PAUSE_MAX_S, max(REFUSED_PAUSE_MIN_S, 2 * pause_s)) if refused else 0.0
            await asyncio.sleep(pause_s or POLL_S)

    async def _until_due(self) -> None:
        while True:
            if self._can_send():
                if self._file.usage.set_aside and self._publisher.max_bytes is None:
                    self._file.readmit()  # the limit is unknown again after each connect, and may have changed
                if self._file.sendable_events:
                    return
            await asyncio.sleep(POLL_S)

    async def _pass(self) -> int:
        """Send the file's rows from the first to the last, window by window; return how many were refused."""
        refused, after = 0, 0
        while self._can_send() and (rows := await self._file.read(after=after)):
            after = rows[-1].seq
            refused += await self._refused_of(self._send(rows))
        if refused:
            log.warning("spool.events_refused", file=self._file.claim.path.name, events=refused)
        return refused

    def _send(self, rows: Iterable[Row]) -> list[Publication]:
        """Start to publish rows, as many as can be published now."""
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

    async def _refused_of(self, window: Iterable[Publication]) -> int:
        """Wait until a window is resolved or the broker stalls; return how many of its rows were refused."""
        refused = 0
        for publication in window:
            try:
                await publication.confirmed(timeout_s=self._confirm_timeout_s)
            except HeadersTooLargeError:
                refused += 1  # only another connection can have larger frames
            except MessageTooLargeError:
                continue  # the next pass sets it aside
            except PublishTimeoutError:
                break  # it and the rows after it stay held while they are unresolved
            except PublishError:
                refused += 1
            except BrokerUnavailableError:
                continue
        return refused
