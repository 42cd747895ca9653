"""Where metrics are kept and how they are exposed: in this process, or in files that several workers share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, disable_created_metrics, multiprocess
from prometheus_client.exposition import choose_encoder

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
AGE_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
REORDER_BUCKETS_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600)


disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, which nobody asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """Metrics as text, in the format that `content_type` names."""

    body: bytes
    content_type: str


Expose = Callable[[str], Exposition]
"""Exposes metrics in the format that an `Accept` header asks for: OpenMetrics, which has exemplars, or plain text."""


def exposition_of(registry: CollectorRegistry) -> Expose:
    """Expose this process's own metrics."""
    return lambda accept: _expose(registry, accept)


def exposition_of_workers(directory: Path) -> Expose:
    """Expose the sum over all worker processes that keep their metrics in `directory`; it has no exemplars."""

    def expose(accept: str) -> Exposition:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]  # not annotated there
        return _expose(registry, accept)

    return expose


def _expose(registry: CollectorRegistry, accept: str) -> Exposition:
    encode, content_type = choose_encoder(accept)
    return Exposition(body=encode(registry), content_type=content_type)


def forget_worker(pid: int, directory: Path) -> None:
    """Drop the gauges of a worker that has ended; its counters stay in the sum."""
    multiprocess.mark_process_dead(pid, path=str(directory))  # type: ignore[no-untyped-call]  # not annotated there
