"""Turns a status of the library into the values of the views."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from eventflow.event import parse_time
from eventflow.operations.status.eta import in_words as eta_in_words
from eventflow.operations.status.flow import LANES, FlowStatus
from eventflow.operations.status.losses import losses_in
from eventflow.operations.status.services import short_name
from eventflow.operations.status.spool import spool_in
from eventflow.operations.status.standing import THROTTLED_MIN_S, drain_of, standing_of
from eventflow_console.intake import Intake
from eventflow_console.present import (
    CollectorState,
    FlowState,
    ProcessorState,
    RateState,
    SpoolState,
    TargetState,
)

STEADY: Final = timedelta(seconds=2)
"""Services report durations, from which times are calculated, so that these vary a little from look to look."""

THROTTLED_MAX_S: Final = 86_400.0
"""The longest pause that a setting allows. A report comes from outside, and may claim a time that no date has."""


def flow_state_of(flow: FlowStatus, intake: Intake, *, at: datetime, before: FlowState | None) -> FlowState:
    """Return the state of a flow.

    Args:
        flow: The queues of the flow, and the reports about it.
        intake: The accepted events.
        at: Time of the look.
        before: The state at the look before; its times are kept if they have hardly changed.
    """
    standing, drain, orders = standing_of(flow), drain_of(flow), flow.orders
    lanes = {name: flow.lanes[lane] for name, lane in LANES.items()}
    return FlowState(
        flow=flow.flow,
        standing=standing,
        is_paused=orders.is_paused,
        paused_at=None if orders.paused_at is None else parse_time(orders.paused_at),
        paused_by=orders.paused_by,
        **lanes,
        retries=flow.retries,
        dead=flow.dead,
        held=flow.held,
        in_flight=flow.in_flight,
        waiting=flow.waiting,
        oldest_s=flow.oldest_s,
        in_per_s=intake.rate_per_s,
        arrival_per_s=None if drain is None else drain.arrival_per_s,
        departure_per_s=None if drain is None else drain.departure_per_s,
        eta_s=None if drain is None else drain.eta_s,
        eta=eta_in_words(drain, standing),
        rate=_rate_of(flow),
        target=_target_of(flow, at=at, before=None if before is None else before.target),
        throttled_until=_throttled_until(flow, at=at, before=before),
        blocked_by=next((r.blocked_by for r in flow.reports.values() if r.blocked_by is not None), None),
        spool=_spool_of(flow),
        processors=tuple(_processors_of(flow)),
        silent=flow.silent,
        collectors=tuple(_collectors_of(flow, intake)),
        losses=tuple(losses_in(flow.reports.values())),
    )


def _rate_of(flow: FlowStatus) -> RateState:
    reported = flow.rate
    configured_per_s = flow.configured_per_s
    if reported is not None and reported.configured_per_s is not None:
        configured_per_s = reported.configured_per_s
    return RateState(
        configured_per_s=math.inf if configured_per_s is None else configured_per_s,
        ordered_per_s=flow.orders.rate_per_s,
        now_per_s=None if reported is None else reported.now_per_s,
        cost=1.0 if reported is None or reported.cost is None else reported.cost,
    )


def _target_of(flow: FlowStatus, *, at: datetime, before: TargetState | None) -> TargetState | None:
    target = flow.target
    if target is None:
        return None
    since = None if target.for_s is None else at - timedelta(seconds=min(target.for_s, THROTTLED_MAX_S))
    return TargetState(
        state=target.state,
        status=target.status,
        since=_steady(since, None if before is None else before.since),
        failure=target.failure,
    )


def _throttled_until(flow: FlowStatus, *, at: datetime, before: FlowState | None) -> datetime | None:
    throttled_s = min(flow.throttled_s or 0.0, THROTTLED_MAX_S)
    if throttled_s < THROTTLED_MIN_S:
        return None
    return _steady(at + timedelta(seconds=throttled_s), None if before is None else before.throttled_until)


def _steady(moment: datetime | None, before: datetime | None) -> datetime | None:
    """Return the time before, if this one has hardly changed, so that no view changes without a reason."""
    if moment is None or before is None or abs(moment - before) > STEADY:
        return moment
    return before


def _spool_of(flow: FlowStatus) -> SpoolState | None:
    spool = spool_in(flow.collectors.values())
    if spool is None:
        return None
    return SpoolState(
        events=spool.events,
        set_aside=spool.set_aside,
        size_bytes=spool.size_bytes,
        oldest_s=spool.oldest_s,
        failing=spool.failing,
    )


def _processors_of(flow: FlowStatus) -> Iterator[ProcessorState]:
    for instance, report in sorted(flow.reports.items()):
        yield ProcessorState(
            name=short_name(instance),
            instance=instance,
            is_ready=report.is_ready,
            is_consuming=report.is_consuming,
            held=report.held,
            in_flight=report.in_flight,
            share_per_s=None if report.rate is None else report.rate.share_per_s,
            obstacles=report.obstacles,
            blocked_by=report.blocked_by,
        )


def _collectors_of(flow: FlowStatus, intake: Intake) -> Iterator[CollectorState]:
    for instance, report in sorted(flow.collectors.items()):
        yield CollectorState(
            name=short_name(instance),
            instance=instance,
            is_ready=report.is_ready,
            in_per_s=intake.per_s.get(instance),
            broker=report.broker,
            spooled=None if report.spool is None else report.spool.events,
            spool=None if report.spool is None else report.spool.state,
        )
