"""Durable storage of events: published and confirmed, or spooled if the broker does not confirm them.

Publishes and their confirms are handled in callbacks. Only the spool needs a task, because it waits for the disk.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Protocol

import structlog
from typing_extensions import override

from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.errors import (
    BrokerUnavailableError,
    EventFlowError,
    HeadersTooLargeError,
    MessageTooLargeError,
    PublishTimeoutError,
)
from eventflow.event import Event
from eventflow.message import Envelope, Message, encode
from eventflow.spool.store import SpoolError
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import UNRECORDED, Span, exemplar_of
from eventflow_collector.intake import rejection
from eventflow_collector.intake.budget import Reservation, event_bytes
from eventflow_collector.intake.flow import Flow
from eventflow_collector.intake.rejection import Rejection
from eventflow_collector.metrics import CollectorMetrics
from eventflow_collector.spool.spool import Spool
from eventflow_collector.tracing import publishing

log = structlog.stdlib.get_logger()


class Stored(Protocol):
    """The side of a request that waits until its events are stored. One of these methods is called, once."""

    __slots__ = ()

    def stored(self, rejected: Rejection | None) -> None:
        """Note the end: all events are durable (None), or the request is refused."""

    def fail(self, error: Exception) -> None:
        """Note an unexpected error; some of the events may be durable."""


class Writer(Protocol):
    """Stores the events of requests durably."""

    def write(
        self, events: Sequence[Event], flow: Flow, *, reservation: Reservation, request: Span, stored: Stored
    ) -> None:
        """Store the events of one request, and call `stored` at the end: at once, or later.

        Args:
            events: In the order in which they are published.
            flow: Their flow.
            reservation: Reserves their memory; each publish takes over its own part.
            request: The span of the request.
            stored: Called at the end.
        """


class DurableWriter(Writer):
    """Stores the events of all flows durably.

    Guarantee: `write` reports success only after the broker has confirmed each event, or the spool has it on disk. An
    event of a rejected request may be stored nevertheless, if its confirm comes late.
    """

    def __init__(
        self, *, publisher: Publisher, spool: Spool | None, metrics: CollectorMetrics, confirm_timeout_s: float
    ) -> None:
        """Publish with `publisher`; if that fails, store in `spool` if there is one."""
        self._publisher = publisher
        self._spool = spool
        self._metrics = metrics
        self._confirm_timeout_s = confirm_timeout_s
        self._writes: dict[_Write, None] = {}  # not ended, the oldest first: all have the same time to end
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: set[asyncio.Task[None]] = set()

    @property
    def internal_errors(self) -> InternalErrors:
        """Counter of errors in metrics, logs and traces, which must not affect an event."""
        return self._metrics.internal_errors

    @override
    def write(
        self,
        events: Sequence[Event],
        flow: Flow,
        *,
        reservation: Reservation,
        request: Span,
        stored: Stored,
        on_durable: Callable[[Event], object] | None = None,
    ) -> None:
        """Store the events of one request, as the port describes.

        All are published before the first confirm is awaited, and share one deadline. `on_durable`, which never raises,
        is called for each event that is durable: before `stored`, or after it if a confirm comes late, and perhaps
        twice.
        """
        max_bytes = self._publisher.max_bytes
        if max_bytes is not None and any(len(event.body) > max_bytes for event in events):
            stored.stored(rejection.event_too_large(max_bytes))
            return
        write = _Write(self, flow, request, stored, on_durable)
        self._writes[write] = None
        if self._timer is None:
            self._start_timer()
        try:
            write.send(events, reservation)
        except BaseException:
            self.forget(write)
            raise

    def publish(self, message: Message, flow: Flow) -> Publication:
        """Start a publish; raises as `Publisher.publish` does."""
        if self._spool is not None and self._publisher.oldest_unresolved_s >= self._confirm_timeout_s:
            # No publish is started that cannot be confirmed in time, so that a frozen broker costs only one timeout.
            raise BrokerUnavailableError("the broker confirms nothing")
        return self._publisher.publish(message, queue=flow.queue)

    def observe_confirm(self, write: "_Write", span: Span) -> None:
        """Measure the time to a confirm."""
        confirm_s = time.perf_counter() - write.started_s
        self._metrics.flows[write.flow.name].confirm_seconds.observe(confirm_s, exemplar_of(span))

    def forget(self, write: "_Write") -> None:
        """Remove a write that has ended. A second call changes nothing."""
        self._writes.pop(write, None)

    def keep(self, write: "_Write") -> None:
        """Store the unconfirmed events of a write in the spool, in a task, because the disk takes time."""
        keeping = asyncio.create_task(self._keep(write))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)

    def _start_timer(self) -> None:
        """Start the one timer of all writes, which is due with the oldest of them, if there is one."""
        oldest = next(iter(self._writes), None)
        if oldest is not None:
            left_s = oldest.started_s + self._confirm_timeout_s - time.perf_counter()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left_s), self._expire)

    def _expire(self) -> None:
        self._timer = None
        due_s = time.perf_counter() - self._confirm_timeout_s
        for write in list(takewhile(lambda write: write.started_s <= due_s, self._writes)):
            # Removed first, in any case: one that remained would make the timer due at once, without end.
            self.forget(write)
            write.expire(self._confirm_timeout_s)
        if self._timer is None:  # otherwise a write that was begun meanwhile has started it
            self._start_timer()

    async def _keep(self, write: "_Write") -> None:
        try:
            write.stored.stored(await self._keep_traced(write))
        except Exception as error:  # noqa: BLE001 - it is passed on; here it would only end this task
            write.stored.fail(error)

    async def _keep_traced(self, write: "_Write") -> Rejection | None:
        span = self._begin_spooling(write.request) or UNRECORDED
        try:
            rejected = await self._spool_all(write)
        except BaseException as error:
            self._end(span, type(error).__name__)
            raise
        self._end(span, None if rejected is None else "rejected")
        return rejected

    async def _spool_all(self, write: "_Write") -> Rejection | None:
        """Spool the events that the broker has not confirmed.

        If the broker can never accept an event because of its size, the whole request is rejected.
        """
        unconfirmed, flow = write.unconfirmed, write.flow
        for one in unconfirmed:
            if isinstance(one.failure, HeadersTooLargeError):
                return rejection.headers_too_large(one.failure.max_bytes)
            if isinstance(one.failure, MessageTooLargeError):
                return rejection.event_too_large(one.failure.max_bytes)
        first = unconfirmed[0]
        if self._spool is None:
            self._log_unconfirmed(first.event, flow, first.failure, events=len(unconfirmed))
            return rejection.UNCONFIRMED
        puts = [
            self._spool.put(
                one.message,
                queue=flow.queue,
                accepted_at=one.event.accepted_at,
                unresolved=one.publication,
            )
            for one in unconfirmed
        ]
        try:
            await asyncio.gather(*puts)  # together, so that they share a transaction and its fsync
        except SpoolError as error:
            self._log_unconfirmed(first.event, flow, error, events=len(unconfirmed))
            return rejection.UNCONFIRMED
        if write.on_durable is not None:
            for one in unconfirmed:
                write.on_durable(one.event)
        self._record_spooled(unconfirmed, flow)
        return None

    @harmless
    def _begin_spooling(self, request: Span) -> Span:
        return request.child("spool")

    @harmless
    def _end(self, span: Span, error: str | None) -> None:
        span.end(error=error)

    @harmless
    def _record_spooled(self, unconfirmed: Sequence["_Sending"], flow: Flow) -> None:
        self._metrics.flows[flow.name].spooled.inc(len(unconfirmed))
        for one in unconfirmed:
            log.debug("event.spooled", flow=flow.name, event_id=shown_id(one.event.id), reason=str(one.failure))

    @harmless
    def _log_unconfirmed(self, event: Event, flow: Flow, reason: EventFlowError | None, *, events: int) -> None:
        log.warning("event.unconfirmed", flow=flow.name, event_id=shown_id(event.id), events=events, reason=str(reason))


class _Sending:
    """An event that is being published.

    Attributes:
        publication: Its publish, which may still be confirmed after a failure; None if none could be started.
        failure: The reason for which it is not confirmed; None if it is confirmed, or if that is not known yet.
    """

    __slots__ = ("_release", "_write", "event", "failure", "is_settled", "message", "publication", "span")

    def __init__(self, write: "_Write", event: Event, message: Message, span: Span) -> None:
        self._write = write
        self.event = event
        self.message = message
        self.span = span
        self.publication: Publication | None = None
        self.failure: EventFlowError | None = None
        self.is_settled = False

    def follow(self, publication: Publication, reservation: Reservation) -> None:
        """Wait for the confirm.

        The request may end before its publish is resolved. Until then the body is in memory, so it remains counted.
        """
        self.publication = publication
        self._release = reservation.split_off(event_bytes(self.event))
        try:
            publication.on_resolved(self._resolved)
        except BaseException:
            self._release()  # otherwise nothing would call it
            raise

    def _resolved(self) -> None:
        # The reader of confirms calls this. An error must end this request only, and not leave it without an answer.
        try:
            self._release()
            if self._write.on_durable is not None and self.publication is not None and self.publication.is_confirmed:
                self._write.on_durable(self.event)  # before the answer, and also if the confirm comes too late for it
            if self.publication is not None and not self.is_settled:  # otherwise the confirm comes too late
                self._write.settle(self, self.publication.error)
        except Exception as error:  # noqa: BLE001 - see above
            self._write.fail(error)


class _Write:
    """The events of one request, from their publishes until each is confirmed or has failed.

    Attributes:
        started_s: Time of the first publish, by the performance counter.
        unconfirmed: The events that the broker has not confirmed, each with its failure.
        on_durable: Called for each event that is durable, if there is anything to call.
    """

    __slots__ = ("_left", "_sendings", "_writer", "flow", "on_durable", "request", "started_s", "stored", "unconfirmed")

    def __init__(
        self,
        writer: DurableWriter,
        flow: Flow,
        request: Span,
        stored: Stored,
        on_durable: Callable[[Event], object] | None,
    ) -> None:
        self._writer = writer
        self._left = 1  # for `send` itself, so that the write does not end before all are sent
        self._sendings: list[_Sending] = []
        self.flow = flow
        self.request = request
        self.stored = stored
        self.on_durable = on_durable
        self.started_s = time.perf_counter()
        self.unconfirmed: list[_Sending] = []

    def send(self, events: Sequence[Event], reservation: Reservation) -> None:
        """Publish all events. If none is unresolved after that, the write ends at once."""
        self._left += len(events)
        for event in events:
            self._send(event, reservation)
        self._end_one()

    def settle(self, sending: _Sending, failure: EventFlowError | None) -> None:
        """Note the outcome of one publish; the last one ends the write."""
        sending.is_settled, sending.failure = True, failure
        try:
            if failure is None:
                sending.span.end()
                self._writer.observe_confirm(self, sending.span)
            else:
                self.unconfirmed.append(sending)
                sending.span.end(error=type(failure).__name__)
        except Exception as error:  # noqa: BLE001 - the event is confirmed or not, recorded or not
            self._writer.internal_errors.note(error)
        self._end_one()

    def expire(self, timeout_s: float) -> None:
        """Count each event without a confirm as failed. Never raises."""
        try:
            for sending in self._sendings:
                if not sending.is_settled:
                    self.settle(sending, PublishTimeoutError(f"no confirm within {timeout_s:g} s"))
        except Exception as error:  # noqa: BLE001 - the timer serves all other writes too
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End the write because of an unexpected error."""
        self._writer.forget(self)
        self.stored.fail(error)

    def _send(self, event: Event, reservation: Reservation) -> None:
        span: Span = UNRECORDED
        traceparent = None
        # In this form, and not by `harmless`, on the way of every event: the decorator's own call costs it a little.
        try:
            span = publishing(self.request, event, queue=self.flow.queue)
            traceparent = span.traceparent
        except Exception as error:  # noqa: BLE001 - an event needs no trace
            self._writer.internal_errors.note(error)
        sending = _Sending(self, event, encode(Envelope(event=event), traceparent=traceparent), span)
        self._sendings.append(sending)
        try:
            publication = self._writer.publish(sending.message, self.flow)
        except (BrokerUnavailableError, MessageTooLargeError) as failure:
            self.settle(sending, failure)
        else:
            sending.follow(publication, reservation)

    def _end_one(self) -> None:
        self._left -= 1
        if self._left:
            return
        # Each event has an outcome now, and only a confirm adds nothing to `unconfirmed`.
        self._writer.forget(self)
        if self.unconfirmed:
            self._writer.keep(self)
        else:
            self._sendings.clear()  # they have references to this: without the cycle all end at once
            self.stored.stored(None)
