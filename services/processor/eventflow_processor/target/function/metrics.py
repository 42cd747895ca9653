"""The metrics of functions."""

from dataclasses import dataclass

from prometheus_client import Counter, Gauge


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionMetrics:
    """Metrics of one flow's function.

    Attributes:
        skipped: Events that had taken effect before.
        overrun: Calls that go on after their deadline.
        loop_blocked: Times that a call has blocked the event loop.
    """

    skipped: Counter
    overrun: Gauge
    loop_blocked: Counter
