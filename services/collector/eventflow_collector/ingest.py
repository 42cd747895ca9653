"""Requests that bring events: authenticate, read, publish, and answer 202 once every event of the request is safe."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, TypeVar

import structlog
from aiohttp import web

from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.errors import (
    BrokerUnavailableError,
    EventFlowError,
    InvalidEventError,
    MessageTooLargeError,
    PublishError,
)
from eventflow.event import Event, utc_now
from eventflow.message import Envelope, Message, encode
from eventflow.settings.source import SourceSettings
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import UNRECORDED, Span, exemplar_of
from eventflow.topology import Lane, lane_queue
from eventflow_collector.accepted import accepted_response
from eventflow_collector.budget import EVENT_BYTES, ByteBudget, Reservation
from eventflow_collector.intake import Limits, Mode, TooLargeError, UnknownModeError, is_known_key, mode_of, read_events
from eventflow_collector.metrics import CollectorMetrics
from eventflow_collector.problem import Reason, RejectedError, problem_response
from eventflow_collector.senders.signature import Scheme, Stripe, find_flaw, scheme_of
from eventflow_collector.spool.spool import Spool
from eventflow_collector.spool.store import SpoolError
from eventflow_collector.tracing import publishing

UNAUTHENTICATED = "X-Api-Key or the signature is missing, wrong or too old."
"""The answer to every failed check: which part failed is for our metrics, not for whoever is trying."""

TELL_EVERY_S = 1.0

T = TypeVar("T")

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowIntake:
    """What a flow demands of its senders, and where its events go."""

    name: str
    queue: str
    api_keys: tuple[bytes, ...]
    scheme: Scheme | None
    limits: Limits


def flow_intake(name: str, source: SourceSettings) -> FlowIntake:
    """Prepare a flow for its requests."""
    return FlowIntake(
        name=name,
        queue=lane_queue(name, Lane.LIVE),
        api_keys=tuple(key.get_secret_value().encode() for key in source.api_keys),
        scheme=scheme_of(source),
        limits=Limits(
            body_bytes=source.max_body_bytes,
            batch_events=source.max_batch_events,
            batch_bytes=source.max_batch_bytes,
        ),
    )


@dataclass(slots=True, kw_only=True)
class Sending:
    """An event on its way to safety, and its publish, or why there could be none."""

    event: Event
    message: Message
    started: Publication | BrokerUnavailableError | MessageTooLargeError
    span: Span

    async def confirmed(self, *, timeout_s: float) -> None:
        """As `Publication.confirmed`."""
        if not isinstance(self.started, Publication):
            raise self.started
        await self.started.confirmed(timeout_s=timeout_s)

    @property
    def unresolved(self) -> Publication | None:
        """What may still be confirmed."""
        return self.started if isinstance(self.started, Publication) else None


class Ingest:
    """Takes requests for all flows.

    Guarantee: 202 is answered only after the broker has confirmed every event of the request, or the spool has it on
    disk. Any other answer may still be followed by some of them, where a confirm came late; their ids are the same when
    the sender repeats the request with the same headers.
    """

    def __init__(
        self,
        *,
        flows: Mapping[str, FlowIntake],
        publisher: Publisher,
        spool: Spool | None,
        budget: ByteBudget,
        metrics: CollectorMetrics,
        confirm_timeout_s: float,
        body_timeout_s: float,
    ) -> None:
        """Wire the parts that all requests share."""
        self._flows = flows
        self._publisher = publisher
        self._spool = spool
        self._budget = budget
        self._metrics = metrics
        self._confirm_timeout_s = confirm_timeout_s
        self._body_timeout_s = body_timeout_s
        self._in_flight = 0
        self._tells_each = log.is_enabled_for(logging.DEBUG)

    async def receive(self, request: web.BaseRequest, name: str, span: Span) -> web.StreamResponse:
        """Answer one request with events for the flow `name`."""
        reservation = Reservation(self._budget)
        self._in_flight += 1
        try:
            flow, mode = self._admit(request, name)
            events = await self._read(request, flow, mode, reservation)
            if not reservation.grow_for_events(_held_bytes(events, mode)):
                raise _overloaded()
            await self._make_safe(events, flow, reservation, span)
        except RejectedError as rejected:
            self._isolated(partial(self._record_rejected, name, rejected))
            response = problem_response(rejected.status, rejected.detail)
            if rejected.close:
                response.force_close()
            return response
        finally:
            self._in_flight -= 1
            reservation.release()
        try:
            self._metrics.accepted[name].inc(len(events))
            if self._tells_each:
                _tell_accepted(name, events)
        except Exception as error:  # noqa: BLE001 - the events are safe, recorded or not
            self._metrics.internal_errors.note(error)
        return accepted_response(request, [event.id for event in events], is_batch=mode.is_batch)

    async def tell_in_flight(self) -> NoReturn:
        """Tell the metrics every second how many requests are in flight: counting there would cost each of them."""
        while True:
            self._metrics.in_flight.set(self._in_flight)
            await asyncio.sleep(TELL_EVERY_S)

    def _admit(self, request: web.BaseRequest, name: str) -> tuple[FlowIntake, Mode]:
        """Check what can be checked before the body is read."""
        flow = self._flows.get(name)
        if flow is None:
            raise RejectedError(Reason.UNKNOWN_FLOW, 404, "There is no such flow.", close=True)
        if flow.api_keys and not is_known_key(request.headers.get("X-Api-Key"), flow.api_keys):
            raise RejectedError(Reason.UNAUTHENTICATED, 401, UNAUTHENTICATED, close=True)
        if "Content-Encoding" in request.headers and not _is_identity(request.headers.getall("Content-Encoding")):
            raise RejectedError(Reason.ENCODED, 415, "Send the body without Content-Encoding.", close=True)
        try:
            return flow, mode_of(request.headers, batch=request.query.get("batch") if request.query_string else None)
        except UnknownModeError as error:
            raise RejectedError(Reason.CONTENT_TYPE, 415, f"Not taken: {error}.", close=True) from error
        except InvalidEventError as error:
            raise RejectedError(Reason.INVALID, 400, f"Not an event: {error}.", close=True) from error

    async def _read(
        self, request: web.BaseRequest, flow: FlowIntake, mode: Mode, reservation: Reservation
    ) -> Sequence[Event]:
        body = await self._read_body(request, flow.limits.for_body_of(mode), reservation)
        if flow.scheme is not None:
            flaw = find_flaw(flow.scheme, headers=request.headers, body=body, now=utc_now())
            if flaw is not None:
                raise RejectedError(flaw, 401, UNAUTHENTICATED, close=True)  # as for a wrong key
        try:
            return read_events(
                mode,
                flow=flow.name,
                headers=request.headers,
                body=body,
                limits=flow.limits,
                is_stripe=isinstance(flow.scheme, Stripe),
            )
        except TooLargeError as error:
            raise RejectedError(Reason.TOO_LARGE, 413, f"Too large: {error}.") from error
        except InvalidEventError as error:
            raise RejectedError(Reason.INVALID, 400, f"Not an event: {error}.") from error

    async def _read_body(self, request: web.BaseRequest, max_bytes: int, reservation: Reservation) -> bytes:
        if (request.content_length or 0) > max_bytes:
            raise _too_large(max_bytes)
        if not request.content.is_eof() or request.content.exception() is not None:
            return await self._read_what_comes(request, max_bytes, reservation)
        body = request.content.read_nowait()  # a short body has come with its head
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        if not reservation.grow(len(body)):
            raise _overloaded()
        return body

    async def _read_what_comes(self, request: web.BaseRequest, max_bytes: int, reservation: Reservation) -> bytes:
        if not reservation.grow_for_events(_head_bytes(request)):
            raise _overloaded()
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > max_bytes:
                        raise _too_large(max_bytes)
                    if not reservation.grow(len(chunk)):
                        raise _overloaded()
        except TimeoutError as error:
            detail = f"The body did not arrive within {self._body_timeout_s:g} s."
            raise RejectedError(Reason.TOO_SLOW, 408, detail, close=True) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise RejectedError(Reason.INTERRUPTED, 400, "The body is torn or badly framed.", close=True) from error
        return bytes(body)

    async def _make_safe(
        self, events: Sequence[Event], flow: FlowIntake, reservation: Reservation, request: Span
    ) -> None:
        """Return once the broker has confirmed every event; where it cannot, once the spool has it on disk.

        All are published before the first confirm is waited for, and share one deadline.
        """
        max_bytes = self._publisher.max_bytes
        if max_bytes is not None and any(len(event.body) > max_bytes for event in events):
            raise _too_large_for_broker(max_bytes)
        started_s = time.perf_counter()
        sendings = [self._send(event, flow, reservation, request) for event in events]
        unconfirmed: list[tuple[Sending, EventFlowError]] = []
        for sending in sendings:
            waited_s = time.perf_counter() - started_s
            failure: EventFlowError | None = None
            try:
                await sending.confirmed(timeout_s=max(0.0, self._confirm_timeout_s - waited_s))
            except (BrokerUnavailableError, PublishError) as reason:
                failure = reason
                unconfirmed.append((sending, reason))
            try:
                self._record_confirm(sending, flow, failure, confirm_s=time.perf_counter() - started_s)
            except Exception as error:  # noqa: BLE001 - what became of the event is known, and counts
                self._metrics.internal_errors.note(error)
        if unconfirmed:
            span = self._isolated(partial(request.child, "spool")) or UNRECORDED
            try:
                await self._keep(unconfirmed, flow)
            except BaseException as error:
                self._isolated(partial(span.end, error=type(error).__name__))
                raise
            self._isolated(span.end)

    def _record_confirm(
        self, sending: Sending, flow: FlowIntake, failure: EventFlowError | None, *, confirm_s: float
    ) -> None:
        if failure is None:
            sending.span.end()
            self._metrics.confirm_seconds[flow.name].observe(confirm_s, exemplar_of(sending.span))
        else:
            sending.span.end(error=type(failure).__name__)

    def _record_rejected(self, name: str, rejected: RejectedError) -> None:
        self._metrics.count_rejected(name, rejected.reason)
        log.info("event.rejected", flow=name[:64], reason=rejected.reason, status=rejected.status)

    def _isolated(self, record: Callable[[], T]) -> T | None:
        """Record something about a request: an error in doing so is counted, and does not reach the request."""
        try:
            return record()
        except Exception as error:  # noqa: BLE001 - that is the point
            self._metrics.internal_errors.note(error)
            return None

    def _send(self, event: Event, flow: FlowIntake, reservation: Reservation, request: Span) -> Sending:
        span: Span = UNRECORDED
        traceparent = None
        try:
            span = publishing(request, event, queue=flow.queue)
            traceparent = span.traceparent
        except Exception as error:  # noqa: BLE001 - an event goes its way without a trace too
            self._metrics.internal_errors.note(error)
        message = encode(Envelope(event=event), traceparent=traceparent)
        try:
            started = self._publish(message, flow)
        except (BrokerUnavailableError, MessageTooLargeError) as reason:
            return Sending(event=event, message=message, started=reason, span=span)
        # A publish that nobody waits for any more still holds its body, until the broker says what became of it.
        give_back = reservation.hand_over(EVENT_BYTES + len(event.body))
        try:
            started.on_resolved(give_back)
        except BaseException:
            give_back()  # nothing else will
            raise
        return Sending(event=event, message=message, started=started, span=span)

    def _publish(self, message: Message, flow: FlowIntake) -> Publication:
        if self._spool is not None and self._spool.is_preferred:
            raise BrokerUnavailableError("the broker is away, or confirms nothing")
        return self._publisher.publish(message, queue=flow.queue)

    async def _keep(self, unconfirmed: Sequence[tuple[Sending, EventFlowError]], flow: FlowIntake) -> None:
        """Spool what the broker has not confirmed; refuse it where that is not possible either.

        An event that the broker never takes is refused, and all of its request with it.
        """
        for _, reason in unconfirmed:
            if isinstance(reason, MessageTooLargeError):
                raise _too_large_for_broker(reason.max_bytes) from reason
        first, reason = unconfirmed[0]
        if self._spool is None:
            self._isolated(partial(_log_unconfirmed, first.event, flow, reason, events=len(unconfirmed)))
            raise _unconfirmed() from reason
        puts = [
            self._spool.put(
                sending.message,
                queue=flow.queue,
                accepted_at=sending.event.accepted_at,
                unresolved=sending.unresolved,
            )
            for sending, _ in unconfirmed
        ]
        try:
            await asyncio.gather(*puts)  # at once, so that they share a transaction
        except SpoolError as error:
            self._isolated(partial(_log_unconfirmed, first.event, flow, error, events=len(unconfirmed)))
            raise _unconfirmed() from error
        self._isolated(partial(self._record_spooled, unconfirmed, flow))

    def _record_spooled(self, unconfirmed: Sequence[tuple[Sending, EventFlowError]], flow: FlowIntake) -> None:
        self._metrics.spooled[flow.name].inc(len(unconfirmed))
        for sending, reason in unconfirmed:
            log.debug("event.spooled", flow=flow.name, event_id=shown_id(sending.event.id), reason=str(reason))


def _is_identity(encodings: Sequence[str]) -> bool:
    """Whether header lines, each a list, name no encoding at all."""
    return all(coding.strip().lower() in {"", "identity"} for line in encodings for coding in line.split(","))


def _head_bytes(request: web.BaseRequest) -> int:
    """Return the bytes of a request's headers. They may be a mebibyte, held for as long as its body takes to come."""
    return sum(len(name) + len(value) for name, value in request.raw_headers)


def _held_bytes(events: Sequence[Event], mode: Mode) -> int:
    """Return the bytes of events beside the body that they were read from: themselves and their frames.

    Parsing takes more, up to thirty times the body, but one request at a time and for no longer than it lasts.
    """
    if not mode.is_batch:
        return EVENT_BYTES + len(events[0].body)
    return sum(EVENT_BYTES + 2 * len(event.body) for event in events)  # its own copy of its part of the body too


def _tell_accepted(flow: str, events: Sequence[Event]) -> None:
    for event in events:
        log.debug(
            "event.accepted", flow=flow, event_id=shown_id(event.id), type=event.type, source=shown_id(event.source)
        )


def _too_large(max_bytes: int) -> RejectedError:
    return RejectedError(Reason.TOO_LARGE, 413, f"A body may have at most {max_bytes} bytes.", close=True)


def _too_large_for_broker(max_bytes: int) -> RejectedError:
    return RejectedError(Reason.TOO_LARGE, 413, f"An event may have at most {max_bytes} bytes.")


def _overloaded() -> RejectedError:
    return RejectedError(Reason.OVERLOADED, 503, "Too much is in flight just now.", close=True)


def _log_unconfirmed(event: Event, flow: FlowIntake, reason: EventFlowError, *, events: int) -> None:
    log.warning("event.unconfirmed", flow=flow.name, event_id=shown_id(event.id), events=events, reason=str(reason))


def _unconfirmed() -> RejectedError:
    return RejectedError(Reason.UNCONFIRMED, 503, "The event could not be made durable. Send it again.")
