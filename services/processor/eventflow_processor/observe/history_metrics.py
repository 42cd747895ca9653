"""Metrics of the history. A processor without a history has none of them, because a 0 would mislead."""

from collections.abc import Collection

from prometheus_client import CollectorRegistry
from typing_extensions import override

from eventflow.history.writer import WriterListener
from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.metrics import LATENCY_BUCKETS_S, MetricTable, counter, gauge, histogram


class HistoryMetrics(MetricTable, WriterListener):
    """The metrics, as the writer brings them up to date."""

    attempts_recorded = counter("eventflow_history_recorded", "Attempts that are on record", "flow")
    attempts_dropped = counter(
        "eventflow_history_dropped", "Attempts that are not on record; each is part of a gap on record", "flow"
    )
    pending = gauge("eventflow_history_pending", "Attempts that wait to be written into the history")
    write_seconds = histogram(
        "eventflow_history_write_seconds", "Time for writing one batch of the history", buckets=LATENCY_BUCKETS_S
    )
    up = gauge("eventflow_history_up", "1 if the store of the history could be used at the latest try")

    def __init__(self, registry: CollectorRegistry, *, flows: Collection[str], internal_errors: InternalErrors) -> None:
        """Start all flows at 0, so that the first drop is a rise, which an alert sees."""
        super().__init__(registry)
        self._internal_errors = internal_errors
        self._write_seconds = self.write_seconds.labels()
        for flow in flows:
            self.attempts_recorded.labels(flow)
            self.attempts_dropped.labels(flow)

    @override
    def recorded(self, flow: str, attempts: int) -> None:
        self.attempts_recorded.labels(flow).inc(attempts)

    @override
    def dropped(self, flow: str, attempts: int) -> None:
        self.attempts_dropped.labels(flow).inc(attempts)

    @override
    def written(self, seconds: float) -> None:
        self._write_seconds.observe(seconds)

    @override
    def changed(self, *, is_up: bool) -> None:
        self.up.set(is_up)

    @override
    def failed(self, error: Exception) -> None:
        self._internal_errors.note(error, where="history")
