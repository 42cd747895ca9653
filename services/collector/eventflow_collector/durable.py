"""Durable storage of events: published and confirmed, or spooled if the broker does not confirm them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.errors import BrokerUnavailableError, EventFlowError, MessageTooLargeError, PublishError
from eventflow.event import Event
from eventflow.message import Envelope, Message, encode
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import UNRECORDED, Span, exemplar_of
from eventflow_collector.intake import rejection
from eventflow_collector.intake.budget import EVENT_BYTES, Reservation
from eventflow_collector.intake.flow import Flow
from eventflow_collector.intake.rejection import Rejection
from eventflow_collector.metrics import CollectorMetrics
from eventflow_collector.spool.spool import Spool
from eventflow_collector.spool.store import SpoolError
from eventflow_collector.tracing import publishing

log = structlog.stdlib.get_logger()


@dataclass(slots=True, kw_only=True)
class _Sending:
    """An event that is being published.

    Attributes:
        started: Its publish, or the error that prevented one.
    """

    event: Event
    message: Message
    started: Publication | BrokerUnavailableError | MessageTooLargeError
    span: Span

    async def confirmed(self, *, timeout_s: float) -> None:
        """Wait for the confirm; raises as `Publication.confirmed` does."""
        if not isinstance(self.started, Publication):
            raise self.started
        await self.started.confirmed(timeout_s=timeout_s)

    @property
    def unresolved(self) -> Publication | None:
        """The publish that may still be confirmed."""
        return self.started if isinstance(self.started, Publication) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unconfirmed:
    """An event that the broker has not confirmed, and the reason."""

    sending: _Sending
    reason: BrokerUnavailableError | PublishError


class DurableWriter:
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

    @property
    def internal_errors(self) -> InternalErrors:
        """Counter of errors in metrics, logs and traces, which must not affect an event."""
        return self._metrics.internal_errors

    async def write(
        self, events: Sequence[Event], flow: Flow, *, reservation: Reservation, request: Span
    ) -> Rejection | None:
        """Store the events of one request; return None after all are durable.

        All are published before the first confirm is awaited, and share one deadline.

        Args:
            events: In the order in which they are published.
            flow: Their flow.
            reservation: Reserves their memory; each publish takes over its own part.
            request: The span of the request.
        """
        max_bytes = self._publisher.max_bytes
        if max_bytes is not None and any(len(event.body) > max_bytes for event in events):
            return rejection.event_too_large(max_bytes)
        started_s = time.perf_counter()
        sendings = [self._send(event, flow, reservation, request) for event in events]
        unconfirmed: list[_Unconfirmed] = []
        for sending in sendings:
            waited_s = time.perf_counter() - started_s
            failure: EventFlowError | None = None
            try:
                await sending.confirmed(timeout_s=max(0.0, self._confirm_timeout_s - waited_s))
            except (BrokerUnavailableError, PublishError) as reason:
                failure = reason
                unconfirmed.append(_Unconfirmed(sending=sending, reason=reason))
            try:
                self._record_confirm(sending, flow, failure, confirm_s=time.perf_counter() - started_s)
            except Exception as error:  # noqa: BLE001 - the event is confirmed or not, recorded or not
                self._metrics.internal_errors.note(error)
        return await self._keep(unconfirmed, flow, request) if unconfirmed else None

    def _send(self, event: Event, flow: Flow, reservation: Reservation, request: Span) -> _Sending:
        span: Span = UNRECORDED
        traceparent = None
        # In this form, and not by `harmless`, on the way of every event: the decorator's own call costs it a little.
        try:
            span = publishing(request, event, queue=flow.queue)
            traceparent = span.traceparent
        except Exception as error:  # noqa: BLE001 - an event needs no trace
            self._metrics.internal_errors.note(error)
        message = encode(Envelope(event=event), traceparent=traceparent)
        try:
            started = self._publish(message, flow)
        except (BrokerUnavailableError, MessageTooLargeError) as reason:
            return _Sending(event=event, message=message, started=reason, span=span)
        # The request may end before its publish is resolved. Until then the body is in memory, so it remains counted.
        release = reservation.split_off(EVENT_BYTES + len(event.body))
        try:
            started.on_resolved(release)
        except BaseException:
            release()  # otherwise nothing would call it
            raise
        return _Sending(event=event, message=message, started=started, span=span)

    def _publish(self, message: Message, flow: Flow) -> Publication:
        if self._spool is not None and self._spool.is_preferred:
            # No publish is started that cannot be confirmed in time, so that a frozen broker costs only one timeout.
            raise BrokerUnavailableError("the broker is away, or confirms nothing")
        return self._publisher.publish(message, queue=flow.queue)

    async def _keep(self, unconfirmed: Sequence[_Unconfirmed], flow: Flow, request: Span) -> Rejection | None:
        span = self._begin_spooling(request) or UNRECORDED
        try:
            rejected = await self._spool_all(unconfirmed, flow)
        except BaseException as error:
            self._end(span, type(error).__name__)
            raise
        self._end(span, None if rejected is None else "rejected")
        return rejected

    async def _spool_all(self, unconfirmed: Sequence[_Unconfirmed], flow: Flow) -> Rejection | None:
        """Spool the events that the broker has not confirmed.

        If the broker can never accept an event because of its size, the whole request is rejected.
        """
        for one in unconfirmed:
            if isinstance(one.reason, MessageTooLargeError):
                return rejection.event_too_large(one.reason.max_bytes)
        first = unconfirmed[0]
        if self._spool is None:
            self._log_unconfirmed(first.sending.event, flow, first.reason, events=len(unconfirmed))
            return rejection.UNCONFIRMED
        puts = [
            self._spool.put(
                one.sending.message,
                queue=flow.queue,
                accepted_at=one.sending.event.accepted_at,
                unresolved=one.sending.unresolved,
            )
            for one in unconfirmed
        ]
        try:
            await asyncio.gather(*puts)  # together, so that they share a transaction and its fsync
        except SpoolError as error:
            self._log_unconfirmed(first.sending.event, flow, error, events=len(unconfirmed))
            return rejection.UNCONFIRMED
        self._record_spooled(unconfirmed, flow)
        return None

    @harmless
    def _begin_spooling(self, request: Span) -> Span:
        return request.child("spool")

    @harmless
    def _end(self, span: Span, error: str | None) -> None:
        span.end(error=error)

    def _record_confirm(
        self, sending: _Sending, flow: Flow, failure: EventFlowError | None, *, confirm_s: float
    ) -> None:
        if failure is None:
            sending.span.end()
            self._metrics.flows[flow.name].confirm_seconds.observe(confirm_s, exemplar_of(sending.span))
        else:
            sending.span.end(error=type(failure).__name__)

    @harmless
    def _record_spooled(self, unconfirmed: Sequence[_Unconfirmed], flow: Flow) -> None:
        self._metrics.flows[flow.name].spooled.inc(len(unconfirmed))
        for one in unconfirmed:
            log.debug("event.spooled", flow=flow.name, event_id=shown_id(one.sending.event.id), reason=str(one.reason))

    @harmless
    def _log_unconfirmed(self, event: Event, flow: Flow, reason: EventFlowError, *, events: int) -> None:
        log.warning("event.unconfirmed", flow=flow.name, event_id=shown_id(event.id), events=events, reason=str(reason))
