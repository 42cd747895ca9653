"""A finished attempt as one value, for all observers: log, metrics, traces, `eventflow why`. Pure."""

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
        delivery: The delivery, with the number of this attempt.
        result: The result of the request; None if the turn was abandoned before it.
        outcome: The outcome of the delivery; None if it was not settled and so is delivered again.
        error: The reason why it was not settled, or the internal error that caused the outcome.
        spans: The spans of the attempt.
        started_at_ns: Start of the request, in Unix time.
        duration_s: Time from that start to the result.
        settlement_s: Time from the result to the settlement, such as the wait for the confirm of a copy.
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
        """The event, and its history before this attempt."""
        return self.delivery.envelope
