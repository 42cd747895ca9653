"""The monitor of a backlog: the events that it counts, and the gauges that it sets."""

import math
from datetime import timedelta

import pytest

from eventflow.amqp.queues import QueueDepth
from eventflow.control.overrides import Overrides
from eventflow.event import utc_now
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Retry
from eventflow.topology import Lane
from eventflow_processor.backlog.monitor import BacklogMonitor
from eventflow_processor.gate.gate import Gate
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.metrics import ProcessorMetrics
from eventflow_processor.quota.quota import Quota
from tests.support.attempts import attempted, envelope, failed_envelope


@pytest.fixture
def metrics() -> ProcessorMetrics:
    return ProcessorMetrics()


@pytest.fixture
def gate() -> Gate:
    gate = Gate(flow="f", instance="p", max_retry_after_s=900, broadcast=lambda _: None)
    gate.apply_overrides(Overrides())
    return gate


@pytest.fixture
def monitor(metrics: ProcessorMetrics, gate: Gate) -> BacklogMonitor:
    quota = Quota(flow="f", instance="i", rate_per_s=None, burst=1, cost=1, broadcast=lambda _: None)
    lanes = Lanes(due_share=0.5, replay_share=0.2)
    return BacklogMonitor(lanes=lanes, metrics=metrics.bind("f"), quota=quota, gate=gate)


def value(metrics: ProcessorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"eventflow_{name}", {"flow": "f", **labels})


def test_an_event_departs_with_every_outcome_but_a_hold_or_none(
    monitor: BacklogMonitor, metrics: ProcessorMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("eventflow_processor.backlog.monitor.time.monotonic", lambda: now_s)
    copy = failed_envelope()
    for lane in Lane:
        monitor.depth_measured(lane, QueueDepth(messages=0, consumers=1))
    for outcome in (Delivered(), Retry(envelope=copy, delay_s=1), Defer(delay_s=1), DeadLetter(envelope=copy)):
        monitor.attempted(attempted(outcome))
    for stays in (Hold(), None):
        monitor.attempted(attempted(stays))
    now_s += 1.0
    monitor.depth_measured(Lane.LIVE, QueueDepth(messages=0, consumers=1))
    assert value(metrics, "departure_events_per_second") == 4


def test_nothing_is_estimated_before_every_lane_was_looked_at(
    monitor: BacklogMonitor, metrics: ProcessorMetrics
) -> None:
    first, *others = Lane
    monitor.depth_measured(first, QueueDepth(messages=5, consumers=1))
    assert value(metrics, "backlog_events", queue=first.value) == 5
    assert value(metrics, "drain_eta_seconds") == 0
    for lane in others:
        monitor.depth_measured(lane, QueueDepth(messages=5, consumers=1))
    assert value(metrics, "backlog_events", queue=others[-1].value) == 5


def test_lateness_is_observed_for_deliveries_alone(monitor: BacklogMonitor, metrics: ProcessorMetrics) -> None:
    monitor.attempted(attempted(Delivered()))
    monitor.attempted(attempted(Defer(delay_s=1)))
    assert value(metrics, "reorder_seconds_count") == 1


def test_an_event_from_the_future_makes_no_later_one_late(monitor: BacklogMonitor, metrics: ProcessorMetrics) -> None:
    """Another program can publish an event with any time."""
    monitor.attempted(attempted(Delivered(), of=envelope("future", accepted_at=utc_now() + timedelta(days=1))))
    monitor.attempted(attempted(Delivered(), of=envelope("now")))
    assert value(metrics, "reorder_seconds_bucket", le="0.1") == 2


def test_deliveries_that_processors_hold_wait_too(metrics: ProcessorMetrics, gate: Gate) -> None:
    """An operator was shown an empty backlog while a paused processor held all 12 events."""
    quota = Quota(flow="f", instance="i", rate_per_s=2.0, burst=1, cost=1, broadcast=lambda _: None)
    lanes = Lanes(due_share=0.5, replay_share=0.2)
    monitor = BacklogMonitor(lanes=lanes, metrics=metrics.bind("f"), quota=quota, gate=gate)
    monitor.count_held = lambda: 12
    for lane in Lane:
        monitor.depth_measured(lane, QueueDepth(messages=0, consumers=2))
    assert value(metrics, "drain_eta_seconds") == 12  # those of the peer too


@pytest.mark.parametrize("held", [0, 12])
def test_the_backlog_of_a_paused_flow_is_never_gone(
    monitor: BacklogMonitor, metrics: ProcessorMetrics, gate: Gate, held: int
) -> None:
    monitor.count_held = lambda: held
    gate.apply_overrides(Overrides(is_paused=True))
    for lane in Lane:
        monitor.depth_measured(lane, QueueDepth(messages=0, consumers=1))
    assert value(metrics, "drain_eta_seconds") == math.inf
    gate.apply_overrides(Overrides())
    monitor.depth_measured(Lane.LIVE, QueueDepth(messages=0, consumers=1))
    assert value(metrics, "drain_eta_seconds") == 0
