"""Our histogram is exposed exactly as that of prometheus_client."""

import re
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as LibraryHistogram
from prometheus_client.exposition import choose_encoder

from eventflow.telemetry.histogram import HistogramFamily
from eventflow.telemetry.metrics import LATENCY_BUCKETS_S, families_of

OPEN_METRICS = "application/openmetrics-text"
VALUES = (0.0, 0.001, 0.0011, 0.3, 1, 5, 5.1, 1e9, -1.0)


def ours(registry: CollectorRegistry, buckets: Sequence[float]) -> HistogramFamily:
    return HistogramFamily("seconds", "Time", ("flow",), buckets=buckets, registry=registry)


def exposed(registry: CollectorRegistry, accept: str) -> str:
    encode, _ = choose_encoder(accept)
    return re.sub(r"(# \{.*\} \S+) \S+", r"\1 TIME", encode(registry).decode())


@pytest.mark.parametrize("accept", ["", OPEN_METRICS])
@pytest.mark.parametrize("exemplar", [None, {"trace_id": "0" * 32}])
def test_the_exposition_is_that_of_the_library(accept: str, exemplar: dict[str, str] | None) -> None:
    registries = CollectorRegistry(), CollectorRegistry()
    library = LibraryHistogram("seconds", "Time", ["flow"], registry=registries[1], buckets=LATENCY_BUCKETS_S)
    for family in (ours(registries[0], LATENCY_BUCKETS_S), library):
        for flow in ("a", "b"):
            series = family.labels(flow)
            for value in VALUES:
                series.observe(value, exemplar)
    assert exposed(registries[0], accept) == exposed(registries[1], accept)
    assert families_of(registries[0]) == families_of(registries[1]), "as a worker reports it to its parent"


def test_a_family_without_observations_is_exposed_as_that_of_the_library() -> None:
    registries = CollectorRegistry(), CollectorRegistry()
    ours(registries[0], (1, 2)).labels("f")
    LibraryHistogram("seconds", "Time", ["flow"], registry=registries[1], buckets=(1, 2)).labels("f")
    assert exposed(registries[0], "") == exposed(registries[1], "")


def test_labels_return_the_same_series_each_time() -> None:
    family = ours(CollectorRegistry(), (1, 2))
    assert family.labels("f") is family.labels("f")
    assert family.labels("f") is not family.labels("g")


def test_a_second_family_of_the_same_name_is_refused() -> None:
    registry = CollectorRegistry()
    ours(registry, (1,))
    with pytest.raises(ValueError, match="Duplicated"):
        ours(registry, (1,))
