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
from typing import assert_never
from urllib.parse import urlsplit

from typing_extensions import override

from eventflow.delivery import Delivery
from eventflow.outcome import copy_queue
from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.tracing import Attributes, Kind, Span, Tracer, attributes_of, messaging_attributes
from eventflow.topology import Lane, lane_queue
from eventflow_processor.attempt import Attempted, Spans
from eventflow_processor.observe.observer import Observer
from eventflow_processor.target.result import Errored, Failed, Result, Succeeded, Unsendable

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Lane:
    """Attributes that all spans of a lane share."""

    queue: str
    span_name: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class _AttemptSpan:
    """The span of an attempt, as all attempts of the flow have it."""

    name: str
    kind: Kind
    attributes: Attributes

    def part_of(self, process: Span) -> Span:
        return process.child(self.name, kind=self.kind, attributes=self.attributes)


class DeliveryTracing(Observer):
    """Traces the deliveries of one flow.

    The target and later copies continue the trace, so two spans begin before the attempt. All others are created after
    its end, with its recorded times.
    """

    def __init__(
        self,
        tracer: Tracer,
        *,
        flow: str,
        target_url: str,
        method: str = "POST",
        function: str | None = None,
        internal_errors: InternalErrors,
    ) -> None:
        """Prepare the parts that all spans of the flow have in common.

        Args:
            tracer: Makes the spans.
            flow: The flow.
            target_url: URL of its target.
            method: Method of the requests to it.
            function: The function that is called in place of a target, such as `shop.handlers:handle`.
            internal_errors: Notes errors in here.
        """
        self._internal_errors = internal_errors
        self._tracer = tracer
        self._flow = flow
        self._lanes = {
            lane: _Lane(queue, f"process {queue}", messaging_attributes("process", queue))
            for lane, queue in ((lane, lane_queue(flow, lane)) for lane in Lane)
        }
        self._attempt = _call(function) if function is not None else _request(method, target_url)

    def begin(self, delivery: Delivery) -> Spans | None:
        """Begin the spans of an attempt that starts now; None if its trace is not recorded. Never raises."""
        try:
            parent = delivery.envelope.event.traceparent
            if parent is not None and self._tracer.ignores(parent):  # true of most events
                return None
            return self._begin(delivery)
        except Exception as error:  # noqa: BLE001 - a guard: no error of a trace may reach the event
            self._internal_errors.note(error, where=type(self).__name__)
            return None

    def _begin(self, delivery: Delivery) -> Spans | None:
        envelope, lane = delivery.envelope, self._lanes[delivery.lane]
        process = self._tracer.start(
            lane.span_name,
            kind="consumer",
            parent=envelope.event.traceparent,
            linked=envelope.failure.traceparent if envelope.failure else None,
            attributes=lane.attributes,
            started_at_ns=delivery.received_at_ns,
        )
        if envelope.event.traceparent is None and process.traceparent is not None:
            # No sender gave one: the trace begins here, and copies continue it.
            delivery.envelope = replace(envelope, event=envelope.event.traced(process.traceparent))
        if process.trace_id is None:
            return None
        return Spans(process=process, request=self._attempt.part_of(process))

    @override
    def attempted(self, attempted: Attempted) -> None:
        if (spans := attempted.spans) is None:
            return
        delivery = attempted.delivery
        envelope = delivery.envelope
        spans.process.note({**attributes_of(envelope.event), "eventflow.attempt": envelope.attempt})
        if delivery.attempts_here == 1:
            self._note_wait_in_queue(delivery)
        wait = spans.process.child("wait for quota", started_at_ns=delivery.received_at_ns)
        wait.end(at_ns=attempted.started_at_ns)
        answered_at_ns = attempted.started_at_ns + round(attempted.duration_s * _NS_PER_S)
        if (status := _status_of(attempted.result)) is not None:
            spans.request.note({"http.response.status_code": status})
        error = None if attempted.error is None else type(attempted.error).__name__
        spans.request.end(error=_error_of(attempted.result, error), at_ns=answered_at_ns)
        ended_at_ns = answered_at_ns + round(attempted.settlement_s * _NS_PER_S)
        if attempted.outcome is not None:
            spans.process.note({"eventflow.outcome": attempted.outcome.word})
            if (queue := copy_queue(attempted.outcome, flow=self._flow)) is not None:
                publish = spans.process.child(
                    f"publish {queue}",
                    kind="producer",
                    attributes=messaging_attributes("publish", queue),
                    started_at_ns=answered_at_ns,
                )
                publish.end(at_ns=ended_at_ns)
        spans.process.end(error=error, at_ns=ended_at_ns)

    def _note_wait_in_queue(self, delivery: Delivery) -> None:
        """Create the span of its time on the broker, from its acceptance or the failure of its last attempt."""
        envelope, queue, until_ns = delivery.envelope, self._lanes[delivery.lane].queue, delivery.received_at_ns
        since = envelope.failure.last_at if envelope.failure else envelope.event.accepted_at
        wait = self._tracer.start(
            f"wait {queue}",
            kind="internal",
            parent=envelope.event.traceparent,
            attributes=messaging_attributes("receive", queue),
            started_at_ns=max(0, min(_to_ns(since), until_ns)),  # another host's clock, or a foreign time
        )
        wait.end(at_ns=until_ns)


def _request(method: str, url: str) -> _AttemptSpan:
    parts = urlsplit(url)
    attributes: Attributes = {
        "http.request.method": method,
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }
    return _AttemptSpan(method, "client", attributes)


def _call(function: str) -> _AttemptSpan:
    return _AttemptSpan(f"call {function}", "internal", {"code.function.name": function.replace(":", ".")})


def _status_of(result: Result | None) -> int | None:
    return result.status if isinstance(result, Succeeded | Failed) else None


def _error_of(result: Result | None, error_of_turn: str | None) -> str | None:
    match result:
        case Succeeded():
            return None
        case Failed(reason=reason):
            return reason
        case Unsendable():
            return "unsendable"
        case Errored() | None:
            return error_of_turn
        case _:
            assert_never(result)


def _to_ns(moment: datetime) -> int:
    return round(moment.timestamp() * _NS_PER_S)
