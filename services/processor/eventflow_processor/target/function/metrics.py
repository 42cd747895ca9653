"""The metrics of functions."""

from dataclasses import dataclass

from prometheus_client import Counter, Gauge


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionMetrics:
    """Metrics of one flow's function.

    Attributes:
        skipped: Events that had taken effect before.
        overrun: Calls that go on after their deadline.
    """

    skipped: Counter
    overrun: Gauge
