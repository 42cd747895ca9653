"""The monitor of a backlog: the events that it counts, and the gauges that it sets."""

from datetime import timedelta

import pytest

from eventflow.amqp.queues import QueueDepth
from eventflow.event import utc_now
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Retry
from eventflow.topology import Lane
from eventflow_processor.backlog.monitor import BacklogMonitor
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.metrics import ProcessorMetrics
from eventflow_processor.quota.quota import Quota
from tests.support.attempts import attempted, envelope, failed_envelope


@pytest.fixture
def metrics() -> ProcessorMetrics:
    return ProcessorMetrics()


@pytest.fixture
def monitor(metrics: ProcessorMetrics) -> BacklogMonitor:
    quota = Quota(flow="f", rate_per_s=None, burst=1, cost=1, broadcast=lambda _: None)
    return BacklogMonitor(lanes=Lanes(due_share=0.5, replay_share=0.2), metrics=metrics.bind("f"), quota=quota)


def value(metrics: ProcessorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"eventflow_{name}", {"flow": "f", **labels})


def test_an_event_departs_with_every_outcome_but_a_hold_or_none(
    monitor: BacklogMonitor, metrics: ProcessorMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("eventflow_processor.backlog.monitor.time.monotonic", lambda: now_s)
    copy = failed_envelope()
    for lane in Lane:
        monitor.looked(lane, QueueDepth(messages=0, consumers=1))
    for outcome in (Delivered(), Retry(envelope=copy, delay_s=1), Defer(delay_s=1), DeadLetter(envelope=copy)):
        monitor.attempted(attempted(outcome))
    for stays in (Hold(), None):
        monitor.attempted(attempted(stays))
    now_s += 1.0
    monitor.looked(Lane.LIVE, QueueDepth(messages=0, consumers=1))
    assert value(metrics, "departure_events_per_second") == 4


def test_nothing_is_estimated_before_every_lane_was_looked_at(
    monitor: BacklogMonitor, metrics: ProcessorMetrics
) -> None:
    first, *others = Lane
    monitor.looked(first, QueueDepth(messages=5, consumers=1))
    assert value(metrics, "backlog_events", queue=first.value) == 5
    assert value(metrics, "drain_eta_seconds") == 0
    for lane in others:
        monitor.looked(lane, QueueDepth(messages=5, consumers=1))
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
