"""Metrics: their declaration as a table, and their exposition, of this process or summed over several workers.

Workers report to their parent. The multiprocess mode of prometheus_client is not used. It needs a directory for files
that the workers map into memory, kills a worker with SIGBUS when that disk is full, and keeps the files of every worker
that has ended.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar, overload

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from typing_extensions import override

from eventflow.telemetry.histogram import HistogramFamily

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
AGE_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
REORDER_BUCKETS_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600)


disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each counter, without use

M = TypeVar("M")


class Row(Generic[M]):
    """Row of a `MetricTable`: the declaration of one metric. On an instance of the table its name is the metric."""

    def __init__(self, make: Callable[..., M]) -> None:
        self.make = make

    @overload
    def __get__(self, table: None, owner: type) -> NoReturn: ...
    @overload
    def __get__(self, table: "MetricTable", owner: type) -> M: ...
    def __get__(self, table: "MetricTable | None", owner: type) -> M:
        """Give the name its type. Not called for an instance: its own attribute, the metric, comes first."""
        raise AttributeError(f"a metric of {owner.__name__} exists on an instance only")


def counter(name: str, text: str, *labels: str) -> Row[Counter]:
    """Declare a counter, without the `_total` that its name gets."""
    return Row(partial(Counter, name, text, labels))


def gauge(name: str, text: str, *labels: str) -> Row[Gauge]:
    """Declare a gauge."""
    return Row(partial(Gauge, name, text, labels))


def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Row[HistogramFamily]:
    """Declare a histogram with the upper bounds of its buckets. Only one thread may observe values."""
    return Row(partial(HistogramFamily, name, text, labels, buckets=buckets))


class MetricTable:
    """Metrics of a process; a subclass declares them, one row for each."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Add them to a registry; None makes one, which has the metrics of the process too."""
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
        self.registry = registry
        for name, row in vars(type(self)).items():
            if isinstance(row, Row):
                setattr(self, name, row.make(registry=self.registry))


def count_of(bound: Counter) -> float:
    """Return the value of a counter that has no labels, or whose labels are bound."""
    return next(sample.value for metric in bound.collect() for sample in metric.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """Metrics as text, and the format of the text."""

    body: bytes
    content_type: str


Expose = Callable[[str], Exposition]
"""Returns the metrics in the format of an `Accept` header: OpenMetrics, which has exemplars, or plain text."""


def exposition_of(registry: CollectorRegistry) -> Expose:
    """Return the exposition of the metrics of this process."""
    return lambda accept: _expose(registry, accept)


def _expose(registry: CollectorRegistry, accept: str) -> Exposition:
    encode, content_type = choose_encoder(accept)
    return Exposition(body=encode(registry), content_type=content_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric with all its samples; the key of a sample is its name and its labels."""

    documentation: str
    kind: str
    samples: Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


Families = Mapping[str, Family]


def families_of(registry: CollectorRegistry) -> list[Any]:
    """Return the report of a worker, in JSON's types. It leaves out the metrics of the process, such as its memory."""
    return [
        [metric.name, metric.documentation, metric.type, [[one.name, one.labels, one.value] for one in metric.samples]]
        for metric in registry.collect()
        if not metric.name.startswith("process_")
    ]


class WorkersMetrics(Collector):
    """The metrics of all workers, summed as if they were those of one process.

    Counters and histograms are summed over all workers that ever ran, gauges over those that run now.

    Args:
        largest: Gauges for which the largest value is taken instead of the sum.
    """

    def __init__(self, *, largest: Collection[str]) -> None:
        self._largest = largest
        self._latest: dict[int, Families] = {}
        self._ended: Families = {}

    def report(self, worker: int, families: list[Any]) -> None:
        """Replace a worker's report, made by `families_of`, by its latest one."""
        self._latest[worker] = {
            name: Family(
                documentation=documentation,
                kind=kind,
                samples={(sample, tuple(labels.items())): value for sample, labels, value in samples},
            )
            for name, documentation, kind, samples in families
        }

    def end(self, worker: int) -> None:
        """Drop the gauges of a worker that has ended; its counters and histograms stay in the sums."""
        counted = {name: one for name, one in self._latest.pop(worker, {}).items() if one.kind != "gauge"}
        self._ended = _merged([self._ended, counted], largest=())

    @override
    def collect(self) -> Iterator[Metric]:
        # Runs on another thread than `report` and `end`. No lock is needed, because they replace the values that they
        # change, and the copy of the dict below is atomic.
        for name, family in _merged([self._ended, *self._latest.copy().values()], largest=self._largest).items():
            metric = Metric(name, family.documentation, family.kind)
            for (sample, labels), value in family.samples.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric


def exposition_of_workers(metrics: WorkersMetrics) -> Expose:
    """Return the exposition of the sums over workers, which has no exemplars."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return exposition_of(registry)


def _merged(reports: Iterable[Families], *, largest: Collection[str]) -> Families:
    merged: dict[str, Family] = {}
    for report in reports:
        for name, family in report.items():
            if (found := merged.get(name)) is None:
                merged[name] = family
                continue
            combine = max if name in largest else sum
            samples = {
                key: combine((found.samples.get(key, 0.0), family.samples.get(key, 0.0)))
                for key in {**found.samples, **family.samples}
            }
            merged[name] = Family(documentation=family.documentation, kind=family.kind, samples=samples)
    return merged
