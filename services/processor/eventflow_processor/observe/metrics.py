"""The processor's metrics, bound to a flow once so that the hot path only counts."""

import time
from collections import Counter as Counts
from collections.abc import Callable, Collection
from datetime import datetime
from typing import assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from typing_extensions import override

from eventflow.event import utc_now
from eventflow.management.policies import Look
from eventflow.outcome import TOO_LARGE, DeadLetter, Defer, Delivered, Hold, Retry
from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.metrics import AGE_BUCKETS_S, LATENCY_BUCKETS_S, REORDER_BUCKETS_S
from eventflow.telemetry.tracing import exemplar_of
from eventflow_processor.attempt import Attempted
from eventflow_processor.backlog.estimate import BacklogEstimate
from eventflow_processor.backlog.reorder import Reorder
from eventflow_processor.gate.breaker import Cause
from eventflow_processor.observe.observer import Observer
from eventflow_processor.target.result import REASONS, Errored, Failed, Succeeded


class ProcessorMetrics:
    """All metrics of a processor, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.attempts = Counter(
            "eventflow_attempts", "Attempts by what became of them", ["flow", "outcome"], registry=registry
        )
        self.attempt_seconds = Histogram(
            "eventflow_attempt_seconds",
            "Time from the start of an attempt to the target's answer",
            ["flow"],
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.delivered = Counter(
            "eventflow_events_delivered", "Events that the target took", ["flow"], registry=registry
        )
        self.retried = Counter(
            "eventflow_events_retried",
            "Failed attempts that are repeated later",
            ["flow", "reason"],
            registry=registry,
        )
        self.dead_lettered = Counter(
            "eventflow_events_dead_lettered", "Events given up", ["flow", "reason"], registry=registry
        )
        self.failed = Counter(
            "eventflow_attempts_failed",
            "Failed attempts, those too that do not count for their event, by reason and by what failed in the network",
            ["flow", "reason", "detail"],
            registry=registry,
        )
        self.age_seconds = Histogram(
            "eventflow_event_age_seconds",
            "Time from accepting an event to its delivery",
            ["flow"],
            registry=registry,
            buckets=AGE_BUCKETS_S,
        )
        self.in_flight = Gauge(
            "eventflow_in_flight", "Attempts in flight in this processor", ["flow"], registry=registry
        )
        self.held = Gauge(
            "eventflow_held_events",
            "Events that were delivered to this processor and are not settled",
            ["flow"],
            registry=registry,
        )
        self.stuck = Counter(
            "eventflow_stuck_deliveries",
            "Deliveries that were unsettled for longer than any may be, so that the session ended",
            ["flow"],
            registry=registry,
        )
        internal_errors = Counter(
            "eventflow_internal_errors",
            "Errors of our own, logged as internal.error or attempt.not_made",
            ["service"],
            registry=registry,
        )
        self.internal_errors = InternalErrors(internal_errors.labels("processor"))
        self.throttled = Counter(
            "eventflow_throttled", "Answers by which the target asked for fewer requests", ["flow"], registry=registry
        )
        self.breaker_open = Gauge(
            "eventflow_breaker_open",
            "1 while the target is taken to be down, or to refuse everybody",
            ["flow"],
            registry=registry,
        )
        self.blocked = Gauge(
            "eventflow_blocked",
            "1 while the target refuses everybody with one status, or errors of our own block the flow",
            ["flow"],
            registry=registry,
        )
        self.rate_limit = Gauge(
            "eventflow_rate_limit_units_per_second",
            "Quota of all processors together now; +Inf where there is none",
            ["flow"],
            registry=registry,
        )
        self.rate_share = Gauge(
            "eventflow_rate_share_units_per_second",
            "This processor's part of the quota; 0 while it may not spend",
            ["flow"],
            registry=registry,
        )
        self.processors = Gauge(
            "eventflow_processors", "Processors that share the quota; 0 while unknown", ["flow"], registry=registry
        )
        self.backlog = Gauge(
            "eventflow_backlog_events", "Events ready in a queue of the flow", ["flow", "queue"], registry=registry
        )
        self.reorder_seconds = Histogram(
            "eventflow_reorder_seconds",
            "How late an event is delivered after the first that was accepted later; the smallest for those in order",
            ["flow"],
            registry=registry,
            buckets=REORDER_BUCKETS_S,
        )
        self.oldest_seconds = Gauge(
            "eventflow_oldest_event_seconds",
            "Time since the oldest event that waits here for its turn was accepted; 0 where none does",
            ["flow"],
            registry=registry,
        )
        self.drain_eta_seconds = Gauge(
            "eventflow_drain_eta_seconds",
            "Time until the lanes are empty if nothing changes; +Inf when they never are",
            ["flow"],
            registry=registry,
        )
        self.arrival_per_second = Gauge(
            "eventflow_arrival_events_per_second",
            "Events that come into the lanes, over the last minute",
            ["flow"],
            registry=registry,
        )
        self.departure_per_second = Gauge(
            "eventflow_departure_events_per_second",
            "Events that leave the lanes, over the last minute, of all processors together",
            ["flow"],
            registry=registry,
        )

        self.queues_vanished = Counter(
            "eventflow_queues_vanished", "Queues that were gone with what was in them", ["flow"], registry=registry
        )
        self.dangerous_policies = Gauge(
            "eventflow_dangerous_policies",
            "Settings of policies in effect on queues of the flow that can delete events; none while unseen",
            ["flow"],
            registry=registry,
        )
        self.policies_seen = Gauge(
            "eventflow_policies_seen", "1 if the latest look at the broker's policies succeeded", registry=registry
        )

    def count_vanished(self, flow: str) -> None:
        """Count a queue of a flow that existed and is gone."""
        self.queues_vanished.labels(flow).inc()

    def set_policies(self, flows: Collection[str], seen: Look | None) -> None:
        """Set what a look at the broker's policies found; None if it failed."""
        self.policies_seen.set(seen is not None)
        if seen is not None:
            counts = Counts(danger.flow for danger in seen.dangers)
            for flow in flows:
                self.dangerous_policies.labels(flow).set(counts[flow])

    def bind(self, flow: str) -> "FlowMetrics":
        """Return the metrics of one flow."""
        return FlowMetrics(self, flow)


class FlowMetrics(Observer):
    """The metrics of one flow."""

    def __init__(self, metrics: ProcessorMetrics, flow: str) -> None:
        self._metrics = metrics
        self._flow = flow
        self.departed = 0
        """Events that have left the lanes through this processor."""
        self._outcomes = {
            outcome: metrics.attempts.labels(flow, outcome) for outcome in ("delivered", "retry", "defer", "dead")
        }
        for reason in REASONS:  # so that the first of a kind is a rise from 0, which an alert sees
            metrics.retried.labels(flow, reason)
            metrics.dead_lettered.labels(flow, reason)
        metrics.queues_vanished.labels(flow)
        metrics.dead_lettered.labels(flow, TOO_LARGE)
        self._delivered = metrics.delivered.labels(flow)
        self._age_seconds = metrics.age_seconds.labels(flow)
        self._reorder_seconds = metrics.reorder_seconds.labels(flow)
        self._reorder = Reorder()
        self._drain_eta_seconds = metrics.drain_eta_seconds.labels(flow)
        self._arrival_per_second = metrics.arrival_per_second.labels(flow)
        self._departure_per_second = metrics.departure_per_second.labels(flow)
        self.oldest_seconds = metrics.oldest_seconds.labels(flow)
        self.attempt_seconds = metrics.attempt_seconds.labels(flow)
        self._throttled = metrics.throttled.labels(flow)
        self.stuck = metrics.stuck.labels(flow)
        self._breaker_open = metrics.breaker_open.labels(flow)
        self._is_refused = self._is_blocked = False
        metrics.blocked.labels(flow).set_function(lambda: self._is_refused or self._is_blocked)
        self._rate_limit = metrics.rate_limit.labels(flow)
        self._rate_share = metrics.rate_share.labels(flow)
        self._processors = metrics.processors.labels(flow)

    def follow_held(self, held: Callable[[], float]) -> None:
        """Show how many events are held, which `held` returns, whenever the metrics are read."""
        self._metrics.held.labels(self._flow).set_function(held)

    def follow_in_flight(self, in_flight: Callable[[], float]) -> None:
        """Show how many attempts are in flight, which `in_flight` returns, whenever the metrics are read."""
        self._metrics.in_flight.labels(self._flow).set_function(in_flight)

    @override
    def attempted(self, attempted: Attempted) -> None:
        exemplar = exemplar_of(attempted.spans.request)
        match attempted.result:
            case Succeeded():
                self.attempt_seconds.observe(attempted.duration_s, exemplar)
            case Failed() as failed:
                self.attempt_seconds.observe(attempted.duration_s, exemplar)
                self.count_failed(failed)
            case Errored() | None:
                pass  # no answer of the target
            case _:
                assert_never(attempted.result)
        match attempted.outcome:
            case Delivered():
                self.count_delivered(attempted.envelope.event.accepted_at, exemplar=exemplar)
            case Retry(envelope=copy):
                self.count_retried(copy.failure.reason if copy.failure else "internal")
            case Defer():
                self.count_deferred(held=False)
            case Hold():
                self.count_deferred(held=True)
            case DeadLetter(envelope=copy):
                self.count_dead_lettered(copy.failure.reason if copy.failure else "internal")
            case None:
                pass  # it comes again
            case _:
                assert_never(attempted.outcome)

    def set_breaker(self, cause: Cause | None) -> None:
        """Show why the breaker is open; None while it is closed."""
        self._breaker_open.set(cause is not None)
        self._is_refused = cause is Cause.BLOCKED

    def set_blocked(self, is_blocked: bool) -> None:
        """Show whether errors of our own block the flow."""
        self._is_blocked = is_blocked

    def set_quota(self, *, rate_per_s: float, share_per_s: float, processors: int) -> None:
        """Tell the flow's quota now, our part of it, and how many share it."""
        self._rate_limit.set(rate_per_s)
        self._rate_share.set(share_per_s)
        self._processors.set(processors)

    def set_backlog(self, queue: str, events: int) -> None:
        """Tell how many events a queue has ready, by the end of its name."""
        self._metrics.backlog.labels(self._flow, queue).set(events)

    def set_estimate(self, estimate: BacklogEstimate) -> None:
        """Tell when the backlog will be gone, and why."""
        self._drain_eta_seconds.set(estimate.eta_s)
        self._arrival_per_second.set(estimate.arrival_per_s)
        self._departure_per_second.set(estimate.departure_per_s)

    def count_delivered(self, accepted_at: datetime, *, exemplar: dict[str, str] | None) -> None:
        """Count an event that the target has just taken."""
        self._leave("delivered")
        self._delivered.inc()
        now = utc_now()
        self._age_seconds.observe((now - accepted_at).total_seconds(), exemplar)
        accepted_s = min(accepted_at, now).timestamp()  # a stranger's event may say that it is from the future
        self._reorder_seconds.observe(self._reorder.delivered(accepted_s=accepted_s, now_s=time.monotonic()), exemplar)

    def count_failed(self, result: Failed) -> None:
        """Count an attempt that failed."""
        self._metrics.failed.labels(self._flow, result.reason, result.detail or "").inc()
        if result.asks_to_wait:
            self._throttled.inc()

    def count_retried(self, reason: str) -> None:
        """Count a failed attempt that is repeated."""
        self._leave("retry")
        self._metrics.retried.labels(self._flow, reason).inc()

    def count_deferred(self, *, held: bool) -> None:
        """Count an attempt that does not count for its event, which is held here or waits in a delay queue."""
        if held:
            self._outcomes["defer"].inc()
        else:
            self._leave("defer")

    def count_dead_lettered(self, reason: str) -> None:
        """Count an event that was given up."""
        self._leave("dead")
        self._metrics.dead_lettered.labels(self._flow, reason).inc()

    def _leave(self, outcome: str) -> None:
        self._outcomes[outcome].inc()
        self.departed += 1
