"""Requests with events: judged, their bodies read, their events stored durably, and only then answered 202."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import NoReturn

import structlog
from aiohttp import web

from eventflow.event import Event, utc_now
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import Span
from eventflow_collector import responses
from eventflow_collector.durable import DurableWriter
from eventflow_collector.intake import rejection
from eventflow_collector.intake.budget import EVENT_BYTES, ByteBudget, Reservation
from eventflow_collector.intake.flow import Flow
from eventflow_collector.intake.judgement import admit, judge
from eventflow_collector.intake.mode import Mode
from eventflow_collector.intake.rejection import Rejection
from eventflow_collector.metrics import CollectorMetrics
from eventflow_collector.responses import Response

REPORT_EVERY_S = 1.0

log = structlog.stdlib.get_logger()


class Ingest:
    """Handles the requests with events, for all flows.

    Guarantee: 202 is answered only after every event of the request is durable (see `DurableWriter`). After any other
    answer some of them may be durable too. Their ids are the same if the sender repeats the request with the same
    headers.
    """

    def __init__(
        self,
        *,
        flows: Mapping[str, Flow],
        writer: DurableWriter,
        budget: ByteBudget,
        metrics: CollectorMetrics,
        body_timeout_s: float,
    ) -> None:
        """Take the parts that all requests share."""
        self._flows = flows
        self._writer = writer
        self._budget = budget
        self._metrics = metrics
        self._body_timeout_s = body_timeout_s
        self._in_flight = 0
        self._logs_events = log.is_enabled_for(logging.DEBUG)

    @property
    def internal_errors(self) -> InternalErrors:
        """Counter of errors in metrics, logs and traces, which must not affect an event."""
        return self._metrics.internal_errors

    async def receive(self, request: web.BaseRequest, name: str, span: Span) -> Response:
        """Answer one request with events for the flow `name`."""
        reservation = Reservation(self._budget)
        self._in_flight += 1
        try:
            flow = self._flows.get(name)
            if flow is None:
                return self._reject(name, rejection.UNKNOWN_FLOW)
            batch = request.query.get("batch") if request.query_string else None
            mode = admit(flow, request.headers, batch=batch)
            if isinstance(mode, Rejection):
                return self._reject(name, mode)
            events = await self._take(flow, mode, request, reservation, span)
            if isinstance(events, Rejection):
                return self._reject(name, events)
        finally:
            self._in_flight -= 1
            reservation.release()
        try:
            self._record_accepted(name, events)
        except Exception as error:  # noqa: BLE001 - the events are durable, recorded or not
            self._metrics.internal_errors.note(error)
        return responses.accepted([event.id for event in events], is_batch=mode.is_batch)

    async def report_in_flight(self) -> NoReturn:
        """Set the metric of requests in flight every second: setting it at each request would slow down every event."""
        while True:
            self._metrics.in_flight.set(self._in_flight)
            await asyncio.sleep(REPORT_EVERY_S)

    async def _take(
        self, flow: Flow, mode: Mode, request: web.BaseRequest, reservation: Reservation, span: Span
    ) -> Sequence[Event] | Rejection:
        """Return the events of an admitted request after they are durable."""
        max_bytes = flow.limits.for_body_of(mode)
        body = _arrived_body(request, max_bytes, reservation)
        if body is None:
            body = await self._arriving_body(request, max_bytes, reservation)
        if isinstance(body, Rejection):
            return body
        events = judge(flow, mode, request.headers, body, now=utc_now())
        if isinstance(events, Rejection):
            return events
        if not reservation.grow_for_events(_held_bytes(events, mode)):
            return rejection.OVERLOADED
        rejected = await self._writer.write(events, flow, reservation=reservation, request=span)
        return rejected or events

    async def _arriving_body(
        self, request: web.BaseRequest, max_bytes: int, reservation: Reservation
    ) -> bytes | Rejection:
        """Read a body as it arrives, within its deadline; each part is reserved before the next is read."""
        if not reservation.grow_for_events(_head_bytes(request)):
            return rejection.OVERLOADED
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > max_bytes:
                        return rejection.body_too_large(max_bytes)
                    if not reservation.grow(len(chunk)):
                        return rejection.OVERLOADED
        except TimeoutError:
            return rejection.body_too_slow(self._body_timeout_s)
        except (web.RequestPayloadError, ConnectionError):
            return rejection.INTERRUPTED
        return bytes(body)

    def _reject(self, name: str, rejected: Rejection) -> Response:
        self._record_rejected(name, rejected)
        return responses.problem(rejected.status, rejected.detail, closes=rejected.closes)

    def _record_accepted(self, name: str, events: Sequence[Event]) -> None:
        self._metrics.flows[name].accepted.inc(len(events))
        if self._logs_events:
            for event in events:
                log.debug(
                    "event.accepted",
                    flow=name,
                    event_id=shown_id(event.id),
                    type=event.type,
                    source=shown_id(event.source),
                )

    @harmless
    def _record_rejected(self, name: str, rejected: Rejection) -> None:
        self._metrics.count_rejected(name, rejected.reason)
        log.info("event.rejected", flow=name[:64], reason=rejected.reason, status=rejected.status)


def _arrived_body(request: web.BaseRequest, max_bytes: int, reservation: Reservation) -> bytes | Rejection | None:
    """Return a body that has arrived completely, as short ones do with their heads; None if it has not."""
    if (request.content_length or 0) > max_bytes:
        return rejection.body_too_large(max_bytes)
    if not request.content.is_eof() or request.content.exception() is not None:
        return None
    body = request.content.read_nowait()
    if len(body) > max_bytes:
        return rejection.body_too_large(max_bytes)
    return body if reservation.grow(len(body)) else rejection.OVERLOADED


def _head_bytes(request: web.BaseRequest) -> int:
    """Return the bytes of a request's headers. They can be a mebibyte, in memory until the body has arrived."""
    return sum(len(name) + len(value) for name, value in request.raw_headers)


def _held_bytes(events: Sequence[Event], mode: Mode) -> int:
    """Return the bytes of events in addition to the request's body: the events themselves and their frames.

    Parsing takes more, up to thirty times the body, but only while it runs, and for one request at a time.
    """
    if not mode.is_batch:
        return EVENT_BYTES + len(events[0].body)
    return sum(EVENT_BYTES + 2 * len(event.body) for event in events)  # each has a copy of its part of the body
