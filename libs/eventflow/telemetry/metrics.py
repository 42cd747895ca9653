"""Where metrics are kept and how they are exposed: in this process, or in files that several workers share."""

from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest, multiprocess

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
AGE_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)


disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, which nobody asks for


def exposition_of(registry: CollectorRegistry) -> Callable[[], bytes]:
    """Expose this process's own metrics."""
    return lambda: generate_latest(registry)


def exposition_of_workers(directory: Path) -> Callable[[], bytes]:
    """Expose the sum over all worker processes that keep their metrics in `directory`."""

    def expose() -> bytes:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]  # not annotated there
        return generate_latest(registry)

    return expose


def forget_worker(pid: int, directory: Path) -> None:
    """Drop the gauges of a worker that has ended; its counters stay in the sum."""
    multiprocess.mark_process_dead(pid, path=str(directory))  # type: ignore[no-untyped-call]  # not annotated there
