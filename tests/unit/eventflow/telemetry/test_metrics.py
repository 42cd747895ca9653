"""Metrics as a table, and those of several workers as those of one process."""

import json

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from eventflow.telemetry.metrics import (
    MetricTable,
    WorkersMetrics,
    counter,
    exposition_of_workers,
    families_of,
    gauge,
    histogram,
)


class Counting:
    """A worker that counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter("events", "Events", ["flow"], registry=self.registry)
        self.seconds = Histogram("seconds", "Time", registry=self.registry, buckets=(1, 2))
        self.open = Gauge("open", "Connections", registry=self.registry)
        self.oldest = Gauge("oldest", "Age", registry=self.registry)
        ProcessCollector(registry=self.registry)

    def report(self) -> list:
        return json.loads(json.dumps(families_of(self.registry)))


def exposed(metrics: WorkersMetrics) -> dict[str, float]:
    text = exposition_of_workers(metrics)("").body.decode()
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_and_histograms_are_summed_over_all_workers_and_gauges_over_those_that_run() -> None:
    metrics = WorkersMetrics(largest={"oldest"})
    assert exposed(metrics) == {}
    workers = [Counting(), Counting()]
    for number, worker in enumerate(workers, 1):
        worker.events.labels("a").inc(number)
        worker.events.labels(f"only-{number}").inc()
        worker.seconds.observe(number)
        worker.open.set(number)
        worker.oldest.set(10 * number)
        metrics.report(number, [])
        metrics.report(number, worker.report())
    summed = {"events_total/a": 3, "events_total/only-1": 1, "events_total/only-2": 1, "seconds_count": 2}
    buckets = {"seconds_bucket/1.0": 1, "seconds_bucket/2.0": 2, "seconds_bucket/+Inf": 2, "seconds_sum": 3}
    assert exposed(metrics) == summed | buckets | {"open": 3, "oldest": 20}
    metrics.end(2)
    assert exposed(metrics) == summed | buckets | {"open": 1, "oldest": 10}
    metrics.report(2, Counting().report())  # the next one of that number begins at 0
    metrics.end(1)
    assert exposed(metrics) == summed | buckets | {"open": 0, "oldest": 0}
    metrics.end(2)
    assert exposed(metrics) == summed | buckets


class Table(MetricTable):
    """One metric of each kind."""

    events = counter("table_events", "Events", "flow", "reason")
    depth = gauge("table_depth", "Depth")
    seconds = histogram("table_seconds", "Time", "flow", buckets=(1, 2))


def test_each_instance_of_a_table_has_its_own_metrics() -> None:
    one, two = Table(), Table()
    one.events.labels("f", "r").inc()
    one.depth.set(2)
    one.seconds.labels("f").observe(1.5)
    value = one.registry.get_sample_value
    assert value("table_events_total", {"flow": "f", "reason": "r"}) == 1
    assert (value("table_depth"), value("table_seconds_bucket", {"flow": "f", "le": "2.0"})) == (2, 1)
    assert two.registry.get_sample_value("table_depth") == 0
    with pytest.raises(AttributeError):
        _ = Table.events
