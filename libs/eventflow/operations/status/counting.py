"""Count the events in the queues of flows, and read the overrides of an operator."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from eventflow.amqp.channel import is_refused
from eventflow.amqp.queues import QueueDepth
from eventflow.control.overrides import InvalidOverridesError, Overrides
from eventflow.control.reports import ProcessorReport
from eventflow.errors import BrokerUnavailableError
from eventflow.event import format_time
from eventflow.operations.asking import Answers
from eventflow.operations.overrides import read_overrides
from eventflow.operations.retry_queues import Leftovers
from eventflow.operations.session import Link
from eventflow.operations.status.flow import UNKNOWN_ORDERS, FlowStatus, Orders, RetryStatus
from eventflow.settings.root import Settings
from eventflow.topology import Lane, dead_queue, lane_queue, overrides_queue, retry_queue

Measure = Callable[[str], Awaitable[QueueDepth | None]]
"""Measures a queue; None if it does not exist."""


async def count(measure: Measure, settings: Settings, flows: Sequence[str], old: Leftovers) -> list[FlowStatus]:
    """Count the events in the queues of each flow.

    Raises:
        BrokerUnavailableError: The broker does not answer.
    """
    found = []
    for flow in flows:
        target = settings.all_flows[flow].target
        status = await _counts(measure, flow, target.retry_delays_s, old.delays_s.get(flow, ()))
        found.append(replace(status, configured_per_s=target.rate_per_s))
    return found


async def with_reports(link: Link, measure: Measure, status: FlowStatus, answers: Answers) -> FlowStatus:
    """Add the reports about a flow. If no processor has reported the overrides, read them from the broker."""
    reports = answers.processors.get(status.flow, {})
    known = next((report for report in reports.values() if report.is_paused is not None), None)
    orders = await _orders_in_stream(link, measure, status.flow) if known is None else _orders_in(known)
    return replace(status, reports=reports, collectors=answers.collectors.get(status.flow, {}), orders=orders)


def _orders_in(report: ProcessorReport) -> Orders:
    return Orders(
        is_paused=report.is_paused,
        paused_at=report.paused_at,
        paused_by=report.paused_by,
        rate_per_s=None if report.rate is None else report.rate.ordered_per_s,
    )


async def _orders_in_stream(link: Link, measure: Measure, flow: str) -> Orders:
    try:
        exists = await measure(overrides_queue(flow)) is not None
        overrides = await read_overrides(link, flow) if exists else Overrides()
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


async def _counts(measure: Measure, flow: str, delays_s: Sequence[float], old_s: Sequence[float]) -> FlowStatus:
    lanes = {lane: await measure(lane_queue(flow, lane)) for lane in Lane}
    live = lanes[Lane.LIVE]
    retries = [
        RetryStatus(
            delay_s=delay_s,
            events=_ready(await measure(retry_queue(flow, delay_s))),
            configured=delay_s in delays_s,
        )
        for delay_s in sorted({*delays_s, *old_s})
    ]
    return FlowStatus(
        flow=flow,
        lanes={lane: _ready(depth) for lane, depth in lanes.items()},
        retries=tuple(retries),
        dead=_ready(await measure(dead_queue(flow))),
        processors=live.consumers if live else None,
    )


def _ready(depth: QueueDepth | None) -> int | None:
    return depth.messages if depth else None
