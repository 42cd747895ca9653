"""A finished attempt, as all observers read it: log, metrics, traces, `eventflow why`. Pure."""

from dataclasses import dataclass, replace
from typing import Protocol

from eventflow.delivery import Delivery
from eventflow.errors import EventFlowError
from eventflow.message import Envelope
from eventflow.outcome import Outcome
from eventflow.telemetry.tracing import Span
from eventflow_processor.target.result import Result


class AbandonedError(EventFlowError):
    """The turn took too long, or the processor stops. The delivery is unsettled, so the broker requeues it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The spans of a recorded trace that exist before the attempt, because the target and later copies continue them.

    Attributes:
        process: From the arrival of the delivery to its settlement.
        request: The request to the target, a part of `process`.
    """

    process: Span
    request: Span

    @property
    def trace_id(self) -> str | None:
        """The trace, in hex."""
        return self.request.trace_id

    def continued_by(self, envelope: Envelope) -> Envelope:
        """Return the event as the target gets it: it continues the trace of the request."""
        return replace(envelope, event=envelope.event.traced(self.request.traceparent))


class Attempted(Protocol):
    """An attempt from its start to the settlement of its delivery.

    It is a read-only view of the turn, because a separate value would cost each event a microsecond. An observer must
    keep no reference to it: the body of the event would stay in memory.
    """

    @property
    def delivery(self) -> Delivery:
        """The delivery, with the number of this attempt."""
        ...

    @property
    def result(self) -> Result | None:
        """The result of the request; None if the turn was abandoned before it."""
        ...

    @property
    def outcome(self) -> Outcome | None:
        """The outcome of the delivery; None if it was not settled and so is delivered again."""
        ...

    @property
    def error(self) -> Exception | None:
        """The reason why it was not settled, or the internal error that caused the outcome."""
        ...

    @property
    def spans(self) -> Spans | None:
        """The spans of the attempt; None if its trace is not recorded."""
        ...

    @property
    def started_at_ns(self) -> int:
        """Start of the request, in Unix time."""
        ...

    @property
    def duration_s(self) -> float:
        """Time from that start to the result."""
        ...

    @property
    def settlement_s(self) -> float:
        """Time from the result to the settlement, such as the wait for the confirm of a copy."""
        ...
