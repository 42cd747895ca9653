"""Metrics of the processor: their table, and those of one flow, which are bound once so that a hot path only counts."""

import time
from collections import Counter as Counts
from collections.abc import Callable, Collection
from typing import assert_never

from prometheus_client import Gauge
from typing_extensions import override

from eventflow.control.messages import Cause, Ignored
from eventflow.management.policies import Look
from eventflow.message import Envelope
from eventflow.outcome import FAILURE_REASONS, TOO_LARGE, DeadLetter, Defer, Delivered, Hold, Retry
from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.metrics import (
    AGE_BUCKETS_S,
    LATENCY_BUCKETS_S,
    REORDER_BUCKETS_S,
    MetricTable,
    counter,
    gauge,
    histogram,
)
from eventflow.telemetry.tracing import exemplar_of
from eventflow_processor.attempt import Attempted
from eventflow_processor.gate.gate import Gate
from eventflow_processor.observe.observer import Observer
from eventflow_processor.quota.quota import Quota
from eventflow_processor.target.result import Errored, Failed, Succeeded, Unsendable


class ProcessorMetrics(MetricTable):
    """All metrics of a processor.

    Attributes:
        vanished: Queues that no longer existed, by flow.
        dangers: Settings of policies that can delete events, by flow; None until the first successful read.
    """

    # Attempts and their outcomes
    attempts = counter("eventflow_attempts", "Attempts, by outcome", "flow", "outcome")
    attempt_seconds = histogram(
        "eventflow_attempt_seconds",
        "Time from the start of an attempt to the target's answer",
        "flow",
        buckets=LATENCY_BUCKETS_S,
    )
    failed = counter(
        "eventflow_attempts_failed",
        "Failed attempts, including those that do not count, by reason and by the cause of a network failure",
        "flow",
        "reason",
        "detail",
    )
    throttled = counter("eventflow_throttled", "Answers by which the target asked for fewer requests", "flow")
    delivered = counter("eventflow_events_delivered", "Events that the target accepted", "flow")
    retried = counter("eventflow_events_retried", "Failed attempts that are repeated later", "flow", "reason")
    dead_lettered = counter("eventflow_events_dead_lettered", "Events given up", "flow", "reason")
    age_seconds = histogram(
        "eventflow_event_age_seconds", "Time from accepting an event to its delivery", "flow", buckets=AGE_BUCKETS_S
    )
    reorder_seconds = histogram(
        "eventflow_reorder_seconds",
        "Lateness: time since the first delivery of an event that was accepted after this one; 0 if there was none",
        "flow",
        buckets=REORDER_BUCKETS_S,
    )

    # Deliveries in this processor
    in_flight = gauge("eventflow_in_flight", "Attempts in flight in this processor", "flow")
    held = gauge("eventflow_held_events", "Events that were delivered to this processor and are not settled", "flow")
    oldest_seconds = gauge(
        "eventflow_oldest_event_seconds",
        "Age of the oldest event that waits in this processor; 0 if none waits",
        "flow",
    )
    stuck = counter(
        "eventflow_stuck_deliveries",
        "Deliveries that were unsettled for too long, so that their session was ended",
        "flow",
    )
    internal_error_count = counter(
        "eventflow_internal_errors", "Internal errors, logged as internal.error or attempt.not_made", "service"
    )

    # Functions of the user as targets
    inbox_skipped = counter(
        "eventflow_inbox_skipped", "Duplicates of events that had taken effect in the handler's database", "flow"
    )
    handler_overrun = gauge(
        "eventflow_handler_overrun",
        "Calls of the handler that go on after their deadline, and keep their connections and threads",
        "flow",
    )
    loop_blocked = counter(
        "eventflow_loop_blocked", "Times that a handler has blocked the event loop for more than a second", "flow"
    )

    # Gate and quota
    paused = gauge("eventflow_paused", "1 while an operator has paused the flow", "flow")
    breaker_open = gauge(
        "eventflow_breaker_open", "1 while the target is considered down, or refuses every event", "flow"
    )
    blocked = gauge(
        "eventflow_blocked",
        "1 while the target refuses every event with one status, or internal errors block the flow",
        "flow",
    )
    rate_limit = gauge(
        "eventflow_rate_limit_units_per_second", "Quota of all processors together now; +Inf without a limit", "flow"
    )
    rate_share = gauge(
        "eventflow_rate_share_units_per_second", "This processor's part of the quota; 0 while it may not send", "flow"
    )
    processors = gauge("eventflow_processors", "Processors that share the quota; 0 while unknown", "flow")
    control_ignored = counter(
        "eventflow_control_messages_ignored",
        "Messages between processors that were ignored: malformed, or of a later version",
        "reason",
    )

    # Queues
    backlog = gauge("eventflow_backlog_events", "Events ready in a queue of the flow", "flow", "queue")
    drain_eta_seconds = gauge(
        "eventflow_drain_eta_seconds",
        "Time until nothing waits, at the present rates; +Inf if the backlog does not shrink, or if nothing flows",
        "flow",
    )
    arrival_per_second = gauge(
        "eventflow_arrival_events_per_second", "Events that enter the lanes, over the last minute", "flow"
    )
    departure_per_second = gauge(
        "eventflow_departure_events_per_second",
        "Events that leave the lanes, over the last minute, of all processors together",
        "flow",
    )
    queues_vanished = counter(
        "eventflow_queues_vanished", "Queues that no longer existed; their content is lost", "flow"
    )
    dangerous_policies = gauge(
        "eventflow_dangerous_policies",
        "Settings of policies in effect that can delete events of the flow; absent until the first successful read",
        "flow",
    )
    policies_seen = gauge("eventflow_policies_seen", "1 if the latest check of the broker's policies succeeded")

    def __init__(self) -> None:
        super().__init__()
        self._bound: list[FlowMetrics] = []
        self._on_refresh: list[Callable[[], None]] = []
        self.vanished: Counts[str] = Counts()
        self.dangers: Counts[str] | None = None
        self.internal_errors = InternalErrors(self.internal_error_count.labels("processor"))
        for reason in Ignored:
            self.control_ignored.labels(reason.value)

    def count_vanished(self, flow: str) -> None:
        """Count a queue of a flow that existed and is gone."""
        self.queues_vanished.labels(flow).inc()
        self.vanished[flow] += 1

    def count_ignored(self, reason: Ignored) -> None:
        """Count a message of a peer that was ignored."""
        self.control_ignored.labels(reason.value).inc()

    def set_policies(self, flows: Collection[str], seen: Look | None) -> None:
        """Set the gauges of the broker's policies after a check of them; None if it failed."""
        self.policies_seen.set(seen is not None)
        if seen is not None:
            self.dangers = Counts(danger.flow for danger in seen.dangers)
            for flow in flows:
                self.dangerous_policies.labels(flow).set(self.dangers[flow])

    def bind(self, flow: str) -> "FlowMetrics":
        """Return the metrics of one flow."""
        bound = FlowMetrics(self, flow)
        self._bound.append(bound)
        return bound

    def on_refresh(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` too, before each exposition."""
        self._on_refresh.append(refresh)

    async def refresh(self) -> None:
        """Bring the metrics of the flows up to date. Await this on the event loop before each exposition.

        The exposition runs on another thread. There, these parts could change while they are read: the attempts in
        flight are counted one by one, and a rate that has become due is taken over by the first who asks for it.
        """
        for bound in self._bound:
            bound.refresh()
        for refresh in self._on_refresh:
            refresh()


class FlowMetrics(Observer):
    """Metrics of one flow."""

    def __init__(self, metrics: ProcessorMetrics, flow: str) -> None:
        self._metrics = metrics
        self._flow = flow
        for reason in FAILURE_REASONS:  # so that the first of a kind is a rise from 0, which an alert sees
            metrics.retried.labels(flow, reason)
            metrics.dead_lettered.labels(flow, reason)
        metrics.dead_lettered.labels(flow, TOO_LARGE)
        metrics.queues_vanished.labels(flow)
        self._outcomes = {word: metrics.attempts.labels(flow, word) for word in ("delivered", "retry", "defer", "dead")}
        self._attempt_seconds = metrics.attempt_seconds.labels(flow)
        self._new_deliveries = 0  # added to two counters at each refresh, because a counter takes a lock
        self._throttled = metrics.throttled.labels(flow)
        self._delivered = metrics.delivered.labels(flow)
        self._age_seconds = metrics.age_seconds.labels(flow)
        self.reorder_seconds = metrics.reorder_seconds.labels(flow)
        self.oldest_seconds = metrics.oldest_seconds.labels(flow)
        self.drain_eta_seconds = metrics.drain_eta_seconds.labels(flow)
        self.arrival_per_second = metrics.arrival_per_second.labels(flow)
        self.departure_per_second = metrics.departure_per_second.labels(flow)
        self.stuck = metrics.stuck.labels(flow)
        self._followed: list[tuple[Gauge, Callable[[], float]]] = []

    def follow(self, *, gate: Gate, quota: Quota, held: Callable[[], float], in_flight: Callable[[], float]) -> None:
        """Let gauges take their values from the parts of the flow at each `refresh`."""
        self._followed = [
            (one.labels(self._flow), value)
            for one, value in (
                (self._metrics.held, held),
                (self._metrics.in_flight, in_flight),
                (self._metrics.paused, lambda: gate.overrides is not None and gate.overrides.is_paused),
                (self._metrics.breaker_open, lambda: gate.is_breaker_open),
                (self._metrics.blocked, lambda: gate.cause is Cause.BLOCKED or gate.blocked_by is not None),
                (self._metrics.rate_limit, lambda: quota.rate_per_s),
                (self._metrics.rate_share, lambda: quota.share_per_s),
                (self._metrics.processors, lambda: quota.processors),
            )
        ]

    def refresh(self) -> None:
        """Set the gauges that follow parts of the flow, and count the deliveries since the last refresh."""
        new, self._new_deliveries = self._new_deliveries, 0
        self._outcomes["delivered"].inc(new)
        self._delivered.inc(new)
        for one, value in self._followed:
            one.set(value())

    def set_backlog(self, queue: str, events: int) -> None:
        """Set the number of events that a queue has ready; `queue` is the end of its name."""
        self._metrics.backlog.labels(self._flow, queue).set(events)

    @override
    def attempted(self, attempted: Attempted) -> None:
        exemplar = None if attempted.spans is None else exemplar_of(attempted.spans.request)
        match attempted.result:
            case Succeeded():
                self._attempt_seconds.observe(attempted.duration_s, exemplar)
            case Failed() as failed:
                self._attempt_seconds.observe(attempted.duration_s, exemplar)
                self._count_failed(failed)
            case Unsendable() | Errored() | None:
                pass  # no answer of the target
            case _:
                assert_never(attempted.result)
        match attempted.outcome:
            case Delivered():
                self._new_deliveries += 1
                accepted_s = attempted.delivery.envelope.event.accepted_at.timestamp()
                self._age_seconds.observe(time.time() - accepted_s, exemplar)
            case Retry(envelope=copy):
                self._outcomes["retry"].inc()
                self._metrics.retried.labels(self._flow, _reason_of(copy)).inc()
            case Defer() | Hold():
                self._outcomes["defer"].inc()
            case DeadLetter(envelope=copy):
                self._outcomes["dead"].inc()
                self._metrics.dead_lettered.labels(self._flow, _reason_of(copy)).inc()
            case None:
                pass  # it is delivered again
            case _:
                assert_never(attempted.outcome)

    def _count_failed(self, result: Failed) -> None:
        self._metrics.failed.labels(self._flow, result.reason, result.detail or "").inc()
        if result.asks_to_wait:
            self._throttled.inc()


def _reason_of(copy: Envelope) -> str:
    return "internal" if copy.failure is None else copy.failure.reason
