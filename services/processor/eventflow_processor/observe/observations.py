"""Notes on deliveries for metrics, log, trace and `eventflow why`. No error in here reaches a delivery."""

import math
import sys
import time
from collections.abc import Callable

import structlog

from eventflow.delivery import Delivery
from eventflow.errors import DeliveryLostError
from eventflow.message import Envelope
from eventflow.network.failure import MEANINGS
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import exemplar_of
from eventflow_processor.observe.metrics import FlowMetrics
from eventflow_processor.observe.recent import RecentEvents
from eventflow_processor.observe.tracing import DeliveryTrace, DeliveryTracing
from eventflow_processor.target.result import AttemptNotMadeError, Failed, Judged

SAME_DETAIL_S = 60.0
"""`attempt.failed` is logged for one detail at most this often."""

log = structlog.stdlib.get_logger()


class FlowObserver:
    """Observes the deliveries of one flow."""

    def __init__(
        self,
        *,
        flow: str,
        metrics: FlowMetrics,
        tracing: DeliveryTracing,
        recent: RecentEvents,
        internal_errors: InternalErrors,
    ) -> None:
        """Wire those who note something."""
        self.metrics = metrics
        self.tracing = tracing
        self.recent = recent
        self.internal_errors = internal_errors
        self.flow = flow
        self.log = log.bind(flow=flow)
        self._detail_logged_s: dict[str, float] = {}

    def taking(self, delivery: Delivery) -> "Observation":
        """Begin to observe a delivery whose turn has come."""
        return Observation(self, delivery)

    @harmless
    def not_made(self, delivery: Delivery, error: AttemptNotMadeError) -> None:
        """Note that an attempt could not be made for a reason of our own, so that the delivery comes again."""
        self.internal_errors.count()
        self.log.error(
            "attempt.not_made",
            event_id=shown_id(delivery.envelope.event.id),
            reason=str(error),
            action="comes again",
        )

    def failed(self, delivery: Delivery, result: Failed) -> None:
        """Note an attempt that failed, whether or not it counts for its event; a detail is logged once a minute."""
        self.metrics.count_failed(result)
        now_s = time.monotonic()
        if result.detail is None or now_s - self._detail_logged_s.get(result.detail, -math.inf) < SAME_DETAIL_S:
            return
        self._detail_logged_s[result.detail] = now_s
        self.log.warning(
            "attempt.failed",
            event_id=shown_id(delivery.envelope.event.id),
            reason=result.reason,
            detail=result.detail,
            meaning=MEANINGS.get(result.detail),
        )

    @harmless
    def put_off(self) -> None:
        """Note that a delivery went to a delay queue after an error of our own."""
        self.metrics.count_deferred(held=False)

    def crashed(self, error: Exception, *, where: str, delivery: Delivery | None = None) -> None:
        """Note an error of our own, after which a delivery comes again."""
        shown = {} if delivery is None else {"event_id": shown_id(delivery.envelope.event.id)}
        self.internal_errors.note(error, where=where, flow=self.flow, **shown)


class Observation:
    """One delivery from its turn to its settlement."""

    __slots__ = ("_attempt_began_s", "_delivery", "_observer", "_trace")

    def __init__(self, observer: FlowObserver, delivery: Delivery) -> None:
        self._observer = observer
        self._delivery = delivery
        self._trace: DeliveryTrace | None = None
        self._attempt_began_s: float | None = None
        self._begin()

    @property
    def internal_errors(self) -> InternalErrors:
        """See `Guarded`."""
        return self._observer.internal_errors

    @harmless
    def _begin(self) -> None:
        self._observer.recent.begin(self._delivery)
        self._trace = self._observer.tracing.handling(self._delivery)

    def begin_attempt(self) -> Envelope:
        """Note that an attempt begins; return what to send in it: the event whose trace the target continues."""
        return self._begin_attempt() or self._delivery.envelope

    @harmless
    def _begin_attempt(self) -> Envelope | None:
        self._attempt_began_s = time.perf_counter()
        self._observer.metrics.in_flight += 1
        return None if self._trace is None else self._trace.begin_attempt(self._delivery.envelope)

    @harmless
    def end_attempt(self, result: Judged) -> None:
        """Note how the attempt ended."""
        metrics = self._observer.metrics
        if isinstance(result, Failed):
            self._observer.failed(self._delivery, result)
        if (began_s := self._leave_flight()) is not None:
            metrics.attempt_seconds.observe(time.perf_counter() - began_s, self._exemplar())
        if self._trace is not None:
            self._trace.end_attempt(result)

    @property
    def linkable(self) -> str | None:
        """The trace context of the attempt, where its trace is recorded."""
        return None if self._trace is None else self._trace.linkable

    @harmless
    def begin_settlement(self, outcome: Outcome) -> None:
        """Note what is to become of the delivery."""
        if self._trace is not None:
            self._trace.begin_settlement(outcome)

    @harmless
    def lost(self, error: DeliveryLostError) -> None:
        """Note that the delivery could not be settled, so that it comes again."""
        if self._trace is not None:
            self._trace.end_settlement(error=type(error).__name__)
        self._observer.log.warning(
            "delivery.lost",
            event_id=shown_id(self._delivery.envelope.event.id),
            reason=str(error),
            action="comes again",
        )

    @harmless
    def settled(self, outcome: Outcome) -> None:
        """Note what has become of the delivery."""
        if self._trace is not None:
            self._trace.end_settlement()
        envelope, metrics = self._delivery.envelope, self._observer.metrics
        self._observer.recent.remember(envelope, outcome)
        match outcome:
            case Delivered():
                metrics.count_delivered(envelope.event.accepted_at, exemplar=self._exemplar())
                self._log(self._observer.log.debug, "event.delivered")
            case Retry(envelope=copy, delay_s=delay_s) if (failure := copy.failure) is not None:
                metrics.count_retried(failure.reason)
                self._log(self._observer.log.info, "event.retried", **failure.cause, delay_s=delay_s)
            case Defer() | Hold():
                metrics.count_deferred(held=isinstance(outcome, Hold))
                self._log(self._observer.log.debug, "event.deferred")
            case DeadLetter(envelope=copy) if (failure := copy.failure) is not None:
                metrics.count_dead_lettered(failure.reason)
                self._log(self._observer.log.error, "event.dead_lettered", **failure.cause)

    @harmless
    def end(self) -> None:
        """End the observation: well, or of the error that is being handled."""
        error = sys.exception()
        self._leave_flight()
        self._observer.recent.end(self._delivery)
        if self._trace is not None:
            self._trace.end(error=None if error is None else type(error).__name__)

    def _leave_flight(self) -> float | None:
        """Count the attempt as in flight no more; return when it began, None if it has left already."""
        began_s, self._attempt_began_s = self._attempt_began_s, None
        if began_s is not None:
            self._observer.metrics.in_flight -= 1
        return began_s

    def _exemplar(self) -> dict[str, str] | None:
        return None if self._trace is None else exemplar_of(self._trace.attempt)

    def _log(self, line: Callable[..., object], name: str, **fields: object) -> None:
        envelope = self._delivery.envelope
        line(name, event_id=shown_id(envelope.event.id), attempt=envelope.attempt, **fields)
