"""Status of a flow: the number of events in each of its queues, and the reports of its processors. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eventflow.control.reports import CollectorReport, ProcessorReport, RateReport, TargetReport
from eventflow.topology import Lane

LANES = {"live": Lane.LIVE, "due": Lane.DUE, "replay": Lane.REPLAY}
"""The lanes by the names that an operator reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStatus:
    """A retry queue.

    Attributes:
        events: Ready events; None if the queue does not exist.
        configured: Whether a setting has this delay.
    """

    delay_s: float
    events: int | None
    configured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The overrides of an operator; `is_paused` is None if they are unknown.

    Attributes:
        paused_at: Time of the pause in RFC 3339; None if unknown.
        rate_per_s: The rate in place of the configured one; None if there is none.
    """

    is_paused: bool | None = None
    paused_at: str | None = None
    paused_by: str | None = None
    rate_per_s: float | None = None


UNKNOWN_ORDERS = Orders()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStatus:
    """Events in the queues of a flow; None for a queue that does not exist.

    Attributes:
        lanes: Ready events by lane, without those that a processor holds.
        processors: Consumers of the live lane: one for each processor.
        configured_per_s: The rate in the settings of this command; None if it is unlimited.
        reports: The reports of its processors, by their names.
        collectors: The reports of its collectors, by their names.
        orders: The overrides of an operator, from a processor, or from the broker if none has reported them.
    """

    flow: str
    lanes: dict[Lane, int | None]
    retries: tuple[RetryStatus, ...] = ()
    dead: int | None = None
    processors: int | None = None
    configured_per_s: float | None = None
    reports: Mapping[str, ProcessorReport] = field(default_factory=dict)
    collectors: Mapping[str, CollectorReport] = field(default_factory=dict)
    orders: Orders = UNKNOWN_ORDERS

    @property
    def silent(self) -> int:
        """Number of processors that consume and did not answer."""
        consuming = [report for report in self.reports.values() if report.is_consuming is not False]
        return max(0, (self.processors or 0) - len(consuming))

    @property
    def ready(self) -> int:
        """Events ready in the lanes."""
        return sum(events or 0 for events in self.lanes.values())

    @property
    def held(self) -> int | None:
        """Deliveries that processors hold unsettled; None if one of them did not answer."""
        return self._sum_of([report.held for report in self.reports.values()])

    @property
    def in_flight(self) -> int | None:
        """Attempts in flight; None as for `held`."""
        return self._sum_of([report.in_flight for report in self.reports.values()])

    @property
    def waiting(self) -> int | None:
        """Events that wait for an attempt or its end, without those in a delay; None if unknown."""
        return None if self.held is None or self.processors is None else self.ready + self.held

    @property
    def oldest_s(self) -> float | None:
        """Age of the oldest event that waits in a processor; None if no processor has reported it."""
        return max((r.oldest_s for r in self.reports.values() if r.oldest_s is not None), default=None)

    @property
    def throttled_s(self) -> float | None:
        """Seconds until the end of the pause that the target asked for; None if unknown."""
        return max((r.throttled_s for r in self.reports.values() if r.throttled_s is not None), default=None)

    @property
    def target(self) -> TargetReport | None:
        """The report about the target of the processor that knows most: the prober knows the latest failure."""
        targets = [report.target for report in self.reports.values() if report.target is not None]
        return max(targets, key=lambda target: (target.state != "up", target.failure is not None), default=None)

    @property
    def rate(self) -> RateReport | None:
        """The rates of the flow, as one processor reports them; None if unknown."""
        return next((report.rate for report in self.reports.values() if report.rate is not None), None)

    def _sum_of(self, values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return None if self.silent or len(known) < len(values) else sum(known)
