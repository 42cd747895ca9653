"""The processor's part of an event's trace: its wait in the queue, its wait for the quota, the attempt, the settlement.

publish ─┬─ wait eventflow.{flow}.events
         ├─ process eventflow.{flow}.events ─┬─ wait for quota
         │                 ^                 ├─ POST           (the target continues this)
         │                 │ linked          └─ publish eventflow.{flow}.retry.{delay_ms}
         ├─ wait eventflow.{flow}.due
         └─ process eventflow.{flow}.due ─── ...
"""

from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

from structlog.contextvars import bind_contextvars

from eventflow.delivery import Delivery
from eventflow.message import Envelope
from eventflow.outcome import Outcome, copy_queue
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import UNRECORDED, Attributes, Span, Tracer, attributes_of
from eventflow.topology import Lane, lane_queue
from eventflow_processor.target.result import Failed, Judged

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Lane:
    """What all spans of a lane have in common."""

    queue: str
    span_name: str
    attributes: Attributes


class DeliveryTracing:
    """Traces the deliveries of one flow."""

    def __init__(self, tracer: Tracer, *, flow: str, target_url: str) -> None:
        """Prepare what all spans of the flow have in common."""
        self._tracer = tracer
        self._flow = flow
        self._lanes = {
            lane: _Lane(queue, f"process {queue}", _messaging("process", queue))
            for lane, queue in ((lane, lane_queue(flow, lane)) for lane in Lane)
        }
        url = urlsplit(target_url)
        self._request: Attributes = {
            "http.request.method": "POST",
            "server.address": url.hostname or "",
            "server.port": url.port or (443 if url.scheme == "https" else 80),
        }

    def handling(self, delivery: Delivery) -> "DeliveryTrace":
        """Trace what is done with a delivery from its arrival here, when its turn has come, until the trace's `end`."""
        envelope, lane = delivery.envelope, self._lanes[delivery.lane]
        span = self._tracer.start(
            lane.span_name,
            kind="consumer",
            parent=envelope.event.traceparent,
            linked=envelope.failure.traceparent if envelope.failure else None,
            attributes=lane.attributes,
            started_at_ns=delivery.received_at_ns,
        )
        if envelope.event.traceparent is None and span.traceparent is not None:
            # No sender gave one: the trace begins here, and copies continue it.
            delivery.envelope = envelope = replace(envelope, event=envelope.event.traced(span.traceparent))
        if span.trace_id is not None:
            # The context is that of this delivery's own task.
            bind_contextvars(trace_id=span.trace_id, event_id=shown_id(envelope.event.id))
            span.note({**attributes_of(envelope.event), "eventflow.attempt": envelope.attempt})
            if delivery.attempts_here == 1:
                self._tell_wait(envelope, lane.queue, until_ns=delivery.received_at_ns)
            span.child("wait for quota", started_at_ns=delivery.received_at_ns).end()
        return DeliveryTrace(span, flow=self._flow, request=self._request)

    def _tell_wait(self, envelope: Envelope, queue: str, *, until_ns: int) -> None:
        """Tell how long it was on the broker: since it was accepted, or since its last attempt failed."""
        since = envelope.failure.last_at if envelope.failure else envelope.event.accepted_at
        wait = self._tracer.start(
            f"wait {queue}",
            kind="internal",
            parent=envelope.event.traceparent,
            attributes=_messaging("receive", queue),
            started_at_ns=max(0, min(_to_ns(since), until_ns)),  # by another host's clock, or a stranger's word
        )
        wait.end(at_ns=until_ns)


@dataclass(slots=True)
class DeliveryTrace:
    """The spans of one delivery in hand, until `end`."""

    _span: Span
    flow: str
    request: Attributes
    attempt: Span = UNRECORDED
    _settlement: Span = UNRECORDED

    def end(self, *, error: str | None = None) -> None:
        """End the trace's part here: well, or of an error."""
        self._span.end(error=error)

    def begin_attempt(self, envelope: Envelope) -> Envelope:
        """Trace an attempt, and return what to send in it: the event whose trace the target continues."""
        self.attempt = self._span.child("POST", kind="client", attributes=self.request)
        if self.attempt.trace_id is None:
            return envelope
        return replace(envelope, event=envelope.event.traced(self.attempt.traceparent))

    @property
    def linkable(self) -> str | None:
        """The context of the attempt, where its trace is recorded."""
        return None if self.attempt.trace_id is None else self.attempt.traceparent

    def end_attempt(self, result: Judged) -> None:
        """Note how the attempt ended."""
        if result.status is not None:
            self.attempt.note({"http.response.status_code": result.status})
        self.attempt.end(error=result.reason if isinstance(result, Failed) else None)

    def begin_settlement(self, outcome: Outcome) -> None:
        """Trace the settlement: for a copy until its confirm, for the rest there is nothing to wait for."""
        if self._span.trace_id is None:
            return
        self._span.note({"eventflow.outcome": outcome.word})
        if (queue := copy_queue(outcome, flow=self.flow)) is not None:
            self._settlement = self._span.child(
                f"publish {queue}", kind="producer", attributes=_messaging("publish", queue)
            )

    def end_settlement(self, *, error: str | None = None) -> None:
        """Note how the settlement ended."""
        self._settlement.end(error=error)


def _messaging(operation: str, queue: str) -> Attributes:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": "send" if operation == "publish" else operation,
        "messaging.destination.name": queue,
        "messaging.rabbitmq.destination.routing_key": queue,
    }


def _to_ns(moment: datetime) -> int:
    return round(moment.timestamp() * _NS_PER_S)
