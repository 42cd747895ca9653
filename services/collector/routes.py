"""POST /events: authenticate, read, publish, and answer 202 once the event is safe."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web

from collector.budget import ByteBudget, Reservation
from collector.intake import is_known_key, read_event
from collector.metrics import CollectorMetrics
from collector.problem import Reason, RejectedError, problem_response
from collector.spool import Spool
from collector.spool_store import SpoolError
from collector.tracing import SPAN, publishing
from eventflow.errors import BrokerUnavailableError, EventFlowError, InvalidEventError, PublishError
from eventflow.event import Event
from eventflow.message import Envelope, Message, encode
from eventflow.publisher import Publication, Publisher
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import Span, ending, exemplar_of
from eventflow.topology import DEFAULT_FLOW, Lane, lane_queue

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowIntake:
    """What a flow demands of its senders, and where its events go."""

    name: str
    queue: str
    api_keys: tuple[bytes, ...]
    max_body_bytes: int


class Ingest:
    """Takes requests for all flows.

    Guarantee: 202 is answered only after the broker has confirmed the event, or the spool has it on disk. Any other
    answer may still be followed by the event itself, where a confirm came late; its id is the same when the sender
    repeats it with the same headers.
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

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one request."""
        name = request.match_info.get("flow", DEFAULT_FLOW)
        reservation = Reservation(self._budget)
        with self._metrics.in_flight.track_inprogress():
            try:
                event = await self._read(request, name, reservation)
                await self._make_safe(event, self._flows[name], reservation, request[SPAN])
            except RejectedError as rejected:
                self._metrics.count_rejected(name, rejected.reason)
                log.info("event.rejected", flow=name[:64], reason=rejected.reason, status=rejected.status)
                response = problem_response(rejected.status, rejected.detail)
                if rejected.close:
                    response.force_close()
                return response
            finally:
                reservation.release()
        self._metrics.accepted[name].inc()
        return web.json_response({"id": event.id}, status=202)

    async def _read(self, request: web.Request, name: str, reservation: Reservation) -> Event:
        flow = self._flows.get(name)
        if flow is None:
            raise RejectedError(Reason.UNKNOWN_FLOW, 404, "There is no such flow.", close=True)
        if flow.api_keys and not is_known_key(request.headers.get("X-Api-Key"), flow.api_keys):
            raise RejectedError(Reason.UNAUTHENTICATED, 401, "The header X-Api-Key is missing or wrong.", close=True)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RejectedError(Reason.ENCODED, 415, "Send the body without Content-Encoding.", close=True)
        body = await self._read_body(request, flow, reservation)
        try:
            return read_event(flow=name, headers=request.headers, body=body)
        except InvalidEventError as error:
            raise RejectedError(Reason.INVALID, 400, f"Not an event: {error}.") from error

    async def _read_body(self, request: web.Request, flow: FlowIntake, reservation: Reservation) -> bytes:
        too_large = RejectedError(
            Reason.TOO_LARGE, 413, f"A body may have at most {flow.max_body_bytes} bytes.", close=True
        )
        if (request.content_length or 0) > flow.max_body_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > flow.max_body_bytes:
                        raise too_large
                    if not reservation.grow(len(chunk)):
                        raise RejectedError(Reason.OVERLOADED, 503, "Too much is in flight just now.", close=True)
        except TimeoutError as error:
            detail = f"The body did not arrive within {self._body_timeout_s:g} s."
            raise RejectedError(Reason.TOO_SLOW, 408, detail, close=True) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise RejectedError(Reason.INTERRUPTED, 400, "The body is torn or badly framed.", close=True) from error
        return bytes(body)

    async def _make_safe(self, event: Event, flow: FlowIntake, reservation: Reservation, request: Span) -> None:
        """Return once the broker has confirmed the event; where it cannot, once the spool has it on disk."""
        span = publishing(request, event, queue=flow.queue)
        message = encode(Envelope(event=event.traced(span.traceparent)))
        publication: Publication | None = None
        started_s = time.perf_counter()
        try:
            publication = self._publish(message, flow, reservation)
            await publication.confirmed(timeout_s=self._confirm_timeout_s)
        except (BrokerUnavailableError, PublishError) as reason:
            span.end(error=type(reason).__name__)
            with ending(request.child("spool")):
                await self._keep(event, message, flow, publication, reason)
        else:
            span.end()
            self._metrics.confirm_seconds[flow.name].observe(time.perf_counter() - started_s, exemplar_of(span))

    def _publish(self, message: Message, flow: FlowIntake, reservation: Reservation) -> Publication:
        if self._spool is not None and self._spool.is_preferred:
            raise BrokerUnavailableError("the broker is away, or confirms nothing")
        publication = self._publisher.publish(message, queue=flow.queue)
        # A publish that nobody waits for any more still holds its body, until the broker says what became of it.
        publication.on_resolved(reservation.hand_over())
        return publication

    async def _keep(
        self, event: Event, message: Message, flow: FlowIntake, unresolved: Publication | None, reason: EventFlowError
    ) -> None:
        """Spool what the broker has not confirmed; refuse it where that is not possible either."""
        if self._spool is None:
            raise self._refusal(event, flow, reason) from reason
        try:
            await self._spool.put(message, queue=flow.queue, accepted_at=event.accepted_at, unresolved=unresolved)
        except SpoolError as error:
            raise self._refusal(event, flow, error) from error
        self._metrics.spooled[flow.name].inc()
        log.debug("event.spooled", flow=flow.name, event_id=shown_id(event.id), reason=str(reason))

    @staticmethod
    def _refusal(event: Event, flow: FlowIntake, reason: EventFlowError) -> RejectedError:
        log.warning("event.unconfirmed", flow=flow.name, event_id=shown_id(event.id), reason=str(reason))
        return RejectedError(Reason.UNCONFIRMED, 503, "The event could not be made durable. Send it again.")


def flow_intake(name: str, *, api_keys: tuple[str, ...], max_body_bytes: int) -> FlowIntake:
    """Prepare a flow for its requests."""
    return FlowIntake(
        name=name,
        queue=lane_queue(name, Lane.LIVE),
        api_keys=tuple(key.encode() for key in api_keys),
        max_body_bytes=max_body_bytes,
    )
