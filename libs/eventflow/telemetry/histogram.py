"""Histograms that one thread writes and any thread reads.

An observation by `prometheus_client` takes two locks and searches the buckets in Python, which costs five times as
much. Each delivered event has three observations.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString
from typing_extensions import override


class Histogram:
    """One series of a family: a count for each bucket, and the sum of all values."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Start at 0; `bounds` are the upper bounds of the buckets in ascending order, without the infinite one."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._exemplars: list[Exemplar | None] = [None] * len(self._counts)
        self._sum = 0.0

    def observe(self, value: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Count a value; `exemplar` has the labels that its bucket shows as the latest example."""
        bucket = bisect_left(self._bounds, value)
        self._counts[bucket] += 1
        self._sum += value
        if exemplar is not None:
            self._exemplars[bucket] = Exemplar(dict(exemplar), value, time.time())

    def add_to(self, metric: Metric, labels: dict[str, str]) -> None:
        """Add the samples of this series to `metric`."""
        # The copies are atomic. The sum can include one observation more, as it can with `prometheus_client`.
        counts, exemplars, total = tuple(self._counts), tuple(self._exemplars), 0
        for bound, count, exemplar in zip((*self._bounds, math.inf), counts, exemplars, strict=True):
            total += count
            le = floatToGoString(bound)  # type: ignore[no-untyped-call]
            metric.add_sample(f"{metric.name}_bucket", {**labels, "le": le}, total, exemplar=exemplar)
        metric.add_sample(f"{metric.name}_count", labels, total)
        metric.add_sample(f"{metric.name}_sum", labels, self._sum)


class HistogramFamily(Collector):
    """The series of one metric, by their labels."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """Start without series, and appear in `registry`."""
        self._name = name
        self._text = text
        self._labels = labels
        self._bounds = tuple(buckets)
        self._series: dict[tuple[str, ...], Histogram] = {}
        registry.register(self)

    def labels(self, *values: str) -> Histogram:
        """Return the series with these values of the labels. Do this once for each, since `observe` is the hot path."""
        return self._series.setdefault(values, Histogram(self._bounds))

    def describe(self) -> Iterator[Metric]:
        """Yield the metric without samples, so that the registry refuses a second one of its name."""
        yield self._metric()

    @override
    def collect(self) -> Iterator[Metric]:
        metric = self._metric()
        for values, one in self._series.copy().items():
            one.add_to(metric, dict(zip(self._labels, values, strict=True)))
        yield metric

    def _metric(self) -> Metric:
        return Metric(self._name, self._text, "histogram")
