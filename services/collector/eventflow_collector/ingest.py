"""Requests with events, from the head of each to its answer: 202 only after its events are durable. Without coroutines.

Both ways to read a request call the same steps: the collector's own protocol with a whole request at once, and the
handler of aiohttp's server with a head first and a body later.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NoReturn, Protocol, assert_never

import structlog
from typing_extensions import override

from eventflow.event import Event, utc_now
from eventflow.forwarded import Forwarded
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import Span
from eventflow_collector import responses
from eventflow_collector.durable import Stored, Writer
from eventflow_collector.head import Head, Peer
from eventflow_collector.intake import rejection
from eventflow_collector.intake.budget import ByteBudget, Reservation, event_bytes
from eventflow_collector.intake.codings import codings_of
from eventflow_collector.intake.flow import Flow
from eventflow_collector.intake.judgement import admit, answer_handshake, judge, verify
from eventflow_collector.intake.mode import Mode
from eventflow_collector.intake.rejection import Rejection
from eventflow_collector.metrics import CollectorMetrics
from eventflow_collector.responses import Response
from eventflow_collector.senders.certificates import Awaited
from eventflow_collector.senders.handshake import Handshakes, Reply, Visit
from eventflow_collector.senders.request import Request
from eventflow_collector.tracing import RequestTraces

REPORT_EVERY_S = 1.0

log = structlog.stdlib.get_logger()


class Exchange(Peer, Protocol):
    """The connection of requests, which sends their answers. None of its members raises."""

    __slots__ = ()

    def answer(self, reception: "Reception", response: Response) -> None:
        """Send the answer to a request. Only the first one for each counts."""

    def fail(self, reception: "Reception", error: Exception) -> None:
        """Answer 500 because of an unexpected error, unless an answer has been sent."""


class CertificateFetches(Protocol):
    """Fetches the certificates by which senders sign."""

    __slots__ = ()

    def begin(self, awaited: Awaited, on_end: Callable[[], None]) -> None:
        """Begin to fetch a certificate.

        `on_end` is called once, later or at once, with the certificate or without it. Neither function raises.
        """


class Visits(Protocol):
    """Fetches addresses to confirm subscriptions."""

    __slots__ = ()

    def begin(self, flow: str, visit: Visit, on_end: Callable[[bool], None]) -> None:
        """Begin a visit; `on_end` is called once, later or at once, with True after a success. Never raises."""


class Ingest:
    """Receives the requests with events, for all flows.

    Guarantee: 202 is answered only after every event of the request is durable (see `Writer`). After any other
    answer some of them may be durable too. Their ids are the same if the sender repeats the request with the same
    headers.
    """

    def __init__(
        self,
        *,
        flows: Mapping[str, Flow],
        writers: Mapping[str, Writer],
        budget: ByteBudget,
        metrics: CollectorMetrics,
        traces: RequestTraces,
        visits: Visits,
        certificates: CertificateFetches,
    ) -> None:
        """Take the parts that all requests share; each flow has a writer, perhaps the same as others."""
        self.visits = visits
        self.certificates = certificates
        self.traces = traces
        self.flows = flows
        self.writers = writers
        self._budget = budget
        self._metrics = metrics
        self.in_flight = 0
        self._logs_events = log.is_enabled_for(logging.DEBUG)

    @property
    def internal_errors(self) -> InternalErrors:
        """Counter of errors in metrics, logs and traces, which must not affect an event."""
        return self._metrics.internal_errors

    def begin(self, head: Head, exchange: Exchange) -> "Reception":
        """Begin to receive a request with events, in the trace of its sender."""
        return Reception(self, head, Reservation(self._budget), self.traces.begin(head), exchange)

    async def report_in_flight(self) -> NoReturn:
        """Set the metric of requests in flight every second: setting it at each request would slow down every event."""
        while True:
            self._metrics.in_flight.set(self.in_flight)
            await asyncio.sleep(REPORT_EVERY_S)

    def record_accepted(self, name: str, events: Sequence[Event]) -> None:
        """Count and log durable events. Never raises: they are durable, recorded or not."""
        try:
            self._metrics.flows[name].accepted.inc(len(events))
            if events and events[0].forwarded is not None:
                self._record_forwarded(name, events, events[0].forwarded)
            if self._logs_events:
                self._log_accepted(name, events)
        except Exception as error:  # noqa: BLE001 - see above
            self._metrics.internal_errors.note(error)

    @harmless
    def record_handshake(self, head: Head, reply: Reply) -> None:
        """Count and log an answered handshake, without the texts in it."""
        self._metrics.handshakes.labels(head.flow).inc()
        log.info("handshake.answered", flow=head.flow, method=head.method, status=reply.status)

    @harmless
    def record_rejected(self, name: str, rejected: Rejection) -> None:
        """Count and log a refused request."""
        self._metrics.count_rejected(name, rejected.reason)
        log.info("event.rejected", flow=name[:64], reason=rejected.reason, status=rejected.status)

    def _record_forwarded(self, name: str, events: Sequence[Event], forwarded: Forwarded) -> None:
        """Count and log events of one request that have not all of the parts that were to be forwarded."""
        if forwarded.is_cut:
            self._metrics.flows[name].forwarding_cut.inc(len(events))
            log.warning("event.forwarding_cut", flow=name, event_id=shown_id(events[0].id), events=len(events))

    def _log_accepted(self, name: str, events: Sequence[Event]) -> None:
        for event in events:
            log.debug(
                "event.accepted",
                flow=name,
                event_id=shown_id(event.id),
                type=event.type,
                source=shown_id(event.source),
            )


class Reception(Stored):
    """One request, in steps: `admit` its head, `reserve` the parts of its body, `take` it. Each step may refuse it.

    A body that the sender signs and then compresses needs more steps: `verify` it, decode it, `take_verified`.

    The answer goes to the exchange: at once after a refusal, otherwise when the events are stored.

    Attributes:
        max_bytes: The largest body that the flow allows, once the head is admitted.
        response: The answer, which the exchange notes here until it can be sent; None before.
        span: The span of the request.
    """

    __slots__ = (
        "_events",
        "_exchange",
        "_flow",
        "_head",
        "_ingest",
        "_is_open",
        "_mode",
        "_reservation",
        "max_bytes",
        "response",
        "span",
    )

    def __init__(self, ingest: Ingest, head: Head, reservation: Reservation, span: Span, exchange: Exchange) -> None:
        self._ingest = ingest
        self._head = head
        self._reservation = reservation
        self.span = span
        self._exchange = exchange
        self._is_open = True
        self._events: Sequence[Event] = ()
        self.response: Response | None = None
        ingest.in_flight += 1

    def admit(self) -> bool:
        """Judge the head; return False after a refusal."""
        flow = self._ingest.flows.get(self._head.flow)
        if flow is None:
            return self.refuse(rejection.UNKNOWN_FLOW)
        mode = admit(flow, self._head)
        if isinstance(mode, Rejection):
            return self.refuse(mode)
        self._flow, self._mode = flow, mode
        self.max_bytes = flow.limits.for_body_of(mode)
        return True

    def receive(self, body: bytes) -> None:
        """Take all steps for a request that has arrived completely."""
        if self.span.trace_id is None:
            self._receive(body)
        else:
            self._ingest.traces.call(self.span, self._receive, body)

    def reserve_head(self, size_bytes: int) -> bool:
        """Count the memory of a head whose body is still to come; return False after a refusal."""
        return self._reservation.grow_for_events(size_bytes) or self.refuse(rejection.OVERLOADED)

    def reserve(self, size_bytes: int, *, total_bytes: int) -> bool:
        """Count the memory of a part of the body; return False after a refusal.

        Args:
            size_bytes: Of this part.
            total_bytes: Of the body so far.
        """
        if total_bytes > self.max_bytes:
            return self.refuse(rejection.body_too_large(self.max_bytes))
        return self._reservation.grow(size_bytes) or self.refuse(rejection.OVERLOADED)

    @property
    def codings(self) -> tuple[str, ...]:
        """The codings of the body, in the order in which they were applied. All of them can be decoded."""
        return codings_of(self._head.headers) or ()

    @property
    def signs_decoded(self) -> bool:
        """Whether the signature covers the decoded body."""
        return self._flow.signs_decoded

    def take(self, body: bytes) -> None:
        """Judge the whole request and store its events. Its body has been reserved, and decoded if it has codings."""
        request, now = Request(self._head, body, self._exchange), utc_now()
        find = self._flow.await_certificate
        if find is None or not self._fetch(find(request, now), partial(self._take_later, request)):
            self._take(request, now)

    def verify(self, received: bytes) -> bool:
        """Check the signature over a body that is still to be decoded; return False after a refusal."""
        request, now = Request(self._head, received, self._exchange), utc_now()
        if (find := self._flow.await_certificate) is not None:
            # Not waited for: senders that sign by certificates do not compress, and any sender repeats after a 503.
            self._fetch(find(request, now), _do_nothing)
        rejected = verify(self._flow, request, now=now)
        return rejected is None or self.refuse(rejected)

    def take_verified(self, decoded: bytes) -> None:
        """Judge a request whose body was verified before it was decoded, and store its events."""
        self._take(Request(self._head, decoded), utc_now(), is_verified=True)

    def _answer_handshake(self, handshakes: Handshakes, request: Request, now: datetime, *, is_verified: bool) -> bool:
        """Answer or refuse a request that is no event; return False for any other."""
        match answer_handshake(self._flow, handshakes, request, now=now, is_verified=is_verified):
            case None:
                return False
            case Rejection() as rejected:
                self.refuse(rejected)
            case Reply() as reply:
                self._end_handshake(reply)
            case Visit() as visit:
                self._ingest.visits.begin(self._head.flow, visit, partial(self._visited, visit.reply))
            case answer:
                assert_never(answer)
        return True

    def _visited(self, reply: Reply, has_succeeded: bool) -> None:
        """Answer a handshake whose address was visited."""
        if has_succeeded:
            self._end_handshake(reply)
        else:
            self.refuse(rejection.UNVISITED)

    def _end_handshake(self, reply: Reply) -> None:
        if self._is_open:
            self._ingest.record_handshake(self._head, reply)
            self._end(responses.reply(reply))

    def refuse(self, rejected: Rejection) -> bool:
        """Answer a refusal; always returns False."""
        if self._is_open:
            self._ingest.record_rejected(self._head.flow, rejected)
            self._end(
                responses.problem(rejected.status, rejected.detail, closes=rejected.closes, headers=rejected.headers)
            )
        return False

    @override
    def stored(self, rejected: Rejection | None) -> None:
        if self.span.trace_id is None:
            self._answer_stored(rejected)
        else:
            self._ingest.traces.call(self.span, self._answer_stored, rejected)

    @override
    def fail(self, error: Exception) -> None:
        try:
            self.abandon(error)
        finally:  # answered in any case: an error may have come from `abandon` itself
            self._exchange.fail(self, error)

    def abandon(self, error: BaseException) -> None:
        """Release all that is held, because of an error; nothing is answered. A second call changes nothing."""
        if self._is_open:
            self._close()
            self._ingest.traces.end_failed(self.span, error)

    def _close(self) -> None:
        self._is_open = False
        self._events = ()  # their memory is no longer counted, and the answer may have to wait for earlier ones
        self._ingest.in_flight -= 1
        self._reservation.release()

    def _receive(self, body: bytes) -> None:
        size_bytes = len(body)
        if self.admit() and self.reserve(size_bytes, total_bytes=size_bytes):
            self.take(body)

    def _fetch(self, awaited: Awaited | None, on_end: Callable[[], None]) -> bool:
        """Fetch a certificate that a request needs and that is not known; return False if there is none."""
        if awaited is None:
            return False
        self._ingest.certificates.begin(awaited, on_end)
        return True

    def _take_later(self, request: Request) -> None:
        """Take a request after its certificate has been fetched, or could not be."""
        if self._is_open:
            try:
                self._ingest.traces.call(self.span, self._take, request, utc_now())
            except Exception as error:  # noqa: BLE001 - a bug, answered 500
                self.fail(error)

    def _take(self, request: Request, now: datetime, *, is_verified: bool = False) -> None:
        handshakes = self._flow.handshakes
        if handshakes is not None and self._answer_handshake(handshakes, request, now, is_verified=is_verified):
            return
        events = judge(self._flow, self._mode, request, now=now, is_verified=is_verified)
        if isinstance(events, Rejection):
            self.refuse(events)
        elif not self._reservation.grow_for_events(_held_bytes(events, self._mode)):
            self.refuse(rejection.OVERLOADED)
        else:
            self._events = events
            writer = self._ingest.writers[self._head.flow]
            writer.write(events, self._flow, reservation=self._reservation, request=self.span, stored=self)

    def _answer_stored(self, rejected: Rejection | None) -> None:
        if rejected is not None:
            self.refuse(rejected)
        elif self._is_open:
            self._ingest.record_accepted(self._head.flow, self._events)
            ids = [event.id for event in self._events]
            self._end(responses.accepted(ids, is_batch=self._mode.is_batch, answer=self._flow.answer))

    def _end(self, response: Response) -> None:
        self._close()
        self._ingest.traces.end(self.span, response.status)
        self._exchange.answer(self, response)


def _held_bytes(events: Sequence[Event], mode: Mode) -> int:
    """Return the bytes of events in addition to the request's body: the events themselves and their frames.

    Parsing takes more, up to thirty times the body, but only while it runs, and for one request at a time.
    """
    if not mode.is_batch:
        return event_bytes(events[0])
    return sum(event_bytes(event) + len(event.body) for event in events)  # each has a copy of its part of the body


def _do_nothing() -> None:
    """End a fetch that no request waits for."""
