"""Count the events in the queues of flows, and read the overrides of an operator."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eventflow.amqp.channel import is_refused
from eventflow.amqp.queues import QueueDepth, depth_of
from eventflow.control.overrides import InvalidOverridesError
from eventflow.control.reports import ProcessorReport
from eventflow.errors import BrokerUnavailableError
from eventflow.event import format_time
from eventflow.operations.overrides import read_overrides
from eventflow.operations.retry_queues import Leftovers
from eventflow.operations.session import Link
from eventflow.operations.status.flow import UNKNOWN_ORDERS, FlowStatus, Orders, RetryStatus
from eventflow.settings.root import Settings
from eventflow.topology import Lane, dead_queue, lane_queue, retry_queue


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
        overrides = await read_overrides(link, flow)
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
