"""A finished attempt, as the one value that all observers get: log, metrics, traces, `eventflow why`. Pure."""

from dataclasses import dataclass, replace

from eventflow.delivery import Delivery
from eventflow.errors import EventFlowError
from eventflow.message import Envelope
from eventflow.outcome import Outcome
from eventflow.telemetry.tracing import UNRECORDED, Span
from eventflow_processor.target.result import Result


class AbandonedError(EventFlowError):
    """The turn took too long, or the processor stops. The delivery is unsettled, so the broker requeues it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The spans that exist before the attempt, because the target and later copies continue their trace.

    Attributes:
        process: From the arrival of the delivery to its settlement.
        request: The request to the target, a part of `process`.
    """

    process: Span = UNRECORDED
    request: Span = UNRECORDED

    @property
    def trace_id(self) -> str | None:
        """The trace, in hex; None if it is not recorded."""
        return self.request.trace_id

    @property
    def linkable(self) -> str | None:
        """The context of the request for a later span to link to; None if it is not recorded."""
        return None if self.request.trace_id is None else self.request.traceparent

    def continued_by(self, envelope: Envelope) -> Envelope:
        """Return the event as the target gets it, which continues the trace of the request if it is recorded."""
        if self.request.trace_id is None:
            return envelope
        return replace(envelope, event=envelope.event.traced(self.request.traceparent))


NO_SPANS = Spans()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """An attempt from its start to the settlement of its delivery.

    Attributes:
        delivery: What was attempted, with the number of this attempt.
        result: How the request ended; None if the turn was abandoned before.
        outcome: What became of the delivery; None if it was not settled, so that it comes again.
        error: Why it was not settled, or the error of our own that its outcome follows from.
        spans: Of the trace.
        started_at_ns: When the request began, in Unix time.
        duration_s: From there to the result.
        settlement_s: From the result to the settlement: what a copy waited for its confirm.
    """

    delivery: Delivery
    result: Result | None
    outcome: Outcome | None
    error: Exception | None = None
    spans: Spans = NO_SPANS
    started_at_ns: int
    duration_s: float
    settlement_s: float

    @property
    def envelope(self) -> Envelope:
        """The event and its way until this attempt."""
        return self.delivery.envelope
