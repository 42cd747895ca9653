"""Status of a flow: the number of events in each of its queues, and the reports of its processors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from eventflow.amqp.channel import is_refused
from eventflow.amqp.queues import QueueDepth, depth_of
from eventflow.amqp.streams import last_of_stream
from eventflow.cli.retry_queues import Leftovers
from eventflow.cli.session import Link
from eventflow.control.overrides import InvalidOverridesError, Overrides, decode_overrides
from eventflow.control.reports import ProcessorReport
from eventflow.errors import BrokerUnavailableError
from eventflow.event import format_time
from eventflow.settings.root import Settings
from eventflow.topology import Lane, dead_queue, lane_queue, overrides_queue, retry_queue


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
        orders: The overrides of an operator, from a processor, or from the broker if none has reported them.
    """

    flow: str
    lanes: dict[Lane, int | None]
    retries: tuple[RetryStatus, ...] = ()
    dead: int | None = None
    processors: int | None = None
    configured_per_s: float | None = None
    reports: Mapping[str, ProcessorReport] = field(default_factory=dict)
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
    def throttled_s(self) -> float | None:
        """Seconds until the end of the pause that the target asked for; None if unknown."""
        return max((r.throttled_s for r in self.reports.values() if r.throttled_s is not None), default=None)

    def _sum_of(self, values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return None if self.silent or len(known) < len(values) else sum(known)


async def count(link: Link, settings: Settings, flows: Sequence[str], old: Leftovers) -> list[FlowStatus]:
    """Count the events in the queues of each flow.

    Raises:
        BrokerUnavailableError: The broker does not answer.
    """
    found = []
    for flow in flows:
        target = settings.all_flows[flow].target
        status = await _counts(link, flow, target.retry_delays_s, old.delays_s.get(flow, ()))
        found.append(replace(status, configured_per_s=target.rate_per_s))
    return found


async def with_reports(link: Link, status: FlowStatus, reports: Mapping[str, ProcessorReport]) -> FlowStatus:
    """Add the reports of a flow's processors. If none has reported the overrides, read them from the broker."""
    known = next((report for report in reports.values() if report.is_paused is not None), None)
    orders = await _orders_in_stream(link, status.flow) if known is None else _orders_in(known)
    return replace(status, reports=reports, orders=orders)


def _orders_in(report: ProcessorReport) -> Orders:
    return Orders(
        is_paused=report.is_paused,
        paused_at=report.paused_at,
        paused_by=report.paused_by,
        rate_per_s=None if report.rate is None else report.rate.ordered_per_s,
    )


async def _orders_in_stream(link: Link, flow: str) -> Orders:
    try:
        body = await last_of_stream(link.connection, overrides_queue(flow))
        overrides = Overrides() if body is None else decode_overrides(body)
    except InvalidOverridesError:
        return UNKNOWN_ORDERS
    except BrokerUnavailableError as error:
        if is_refused(error):  # a user with few rights can still see the counts
            return UNKNOWN_ORDERS
        raise
    return Orders(
        is_paused=overrides.is_paused,
        paused_at=None if overrides.paused_at is None else format_time(overrides.paused_at),
        paused_by=overrides.paused_by,
        rate_per_s=overrides.rate_per_s,
    )


async def _counts(link: Link, flow: str, delays_s: Sequence[float], old_s: Sequence[float]) -> FlowStatus:
    async def depth(queue: str) -> QueueDepth | None:
        return await depth_of(link.connection, queue)

    lanes = {lane: await depth(lane_queue(flow, lane)) for lane in Lane}
    live = lanes[Lane.LIVE]
    retries = [
        RetryStatus(
            delay_s=delay_s,
            events=_ready(await depth(retry_queue(flow, delay_s))),
            configured=delay_s in delays_s,
        )
        for delay_s in sorted({*delays_s, *old_s})
    ]
    return FlowStatus(
        flow=flow,
        lanes={lane: _ready(depth) for lane, depth in lanes.items()},
        retries=tuple(retries),
        dead=_ready(await depth(dead_queue(flow))),
        processors=live.consumers if live else None,
    )


def _ready(depth: QueueDepth | None) -> int | None:
    return depth.messages if depth else None
