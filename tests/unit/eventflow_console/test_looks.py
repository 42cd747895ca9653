"""A look of the library as values for views."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from eventflow.control.reports import CollectorReport, ProcessorReport, RateReport, SpoolReport, TargetReport
from eventflow.operations.status.flow import FlowStatus, Orders, RetryStatus
from eventflow.operations.status.standing import Standing
from eventflow.topology import Lane
from eventflow_console.intake import Intake
from eventflow_console.looks import flow_state_of
from eventflow_console.present import BrokerState, FlowState, Present

AT = datetime(2026, 11, 29, 3, tzinfo=UTC)
NOTHING = Intake(per_s={}, accepted=None)


def status(**changes: object) -> FlowStatus:
    lanes = {Lane.LIVE: 3, Lane.DUE: 2, Lane.REPLAY: None}
    return replace(FlowStatus(flow="f", lanes=lanes, processors=1), **changes)  # type: ignore[arg-type]


def state(
    flow: FlowStatus, *, intake: Intake = NOTHING, at: datetime = AT, before: FlowState | None = None
) -> FlowState:
    return flow_state_of(flow, intake, at=at, before=before)


def test_an_unknown_value_is_none_and_never_0() -> None:
    shown = state(status(orders=Orders()))
    assert shown.standing is Standing.UNKNOWN
    unknown = (shown.replay, shown.held, shown.waiting, shown.in_per_s, shown.delayed, shown.dead, shown.oldest_s)
    assert unknown == (None,) * 7
    assert (shown.live, shown.due, shown.eta) == (3, 2, "unknown")
    assert math.isinf(shown.rate.limit_per_s)


def test_a_flow_has_what_its_services_report() -> None:
    report = ProcessorReport(
        is_ready=True,
        held=4,
        in_flight=2,
        oldest_s=61.5,
        rate=RateReport(now_per_s=25.0, configured_per_s=50.0, ordered_per_s=40.0, share_per_s=25.0, cost=5.0),
        target=TargetReport(state="up"),
        eta_s=12.0,
        arrival_per_s=1.0,
        departure_per_s=5.0,
    )
    spool = SpoolReport(state="draining", events=7, set_aside=0, size_bytes=4096, oldest_s=3.0, failing=False)
    flow = status(
        reports={"eventflow-processor@host:7:x": report},
        collectors={"eventflow-collector@host:8:y": CollectorReport(is_ready=True, broker="up", spool=spool)},
        orders=Orders(is_paused=False, rate_per_s=40.0),
        retries=(
            RetryStatus(delay_s=1, events=5, configured=True),
            RetryStatus(delay_s=5, events=None, configured=True),
        ),
    )
    shown = state(flow, intake=Intake(per_s={"eventflow-collector@host:8:y": 2.5}, accepted=3))
    assert shown.standing is Standing.FLOWING
    assert (shown.held, shown.waiting, shown.delayed, shown.in_per_s) == (4, 9, 5, 2.5)
    assert (shown.rate.limit_per_s, shown.rate.now_per_s, shown.rate.cost) == (40.0, 25.0, 5.0)
    assert (shown.processors[0].name, shown.processors[0].share_per_s) == ("host:7", 25.0)
    assert (shown.collectors[0].in_per_s, shown.collectors[0].spooled) == (2.5, 7)
    assert shown.spool is not None
    assert shown.spool.events == 7


def test_times_do_not_tremble_from_look_to_look() -> None:
    def report(for_s: float, throttled_s: float) -> FlowStatus:
        target = TargetReport(state="down", for_s=for_s)
        return status(reports={"p": ProcessorReport(target=target, throttled_s=throttled_s)})

    first = state(report(60.0, 30.0))
    second = state(report(61.3, 28.8), at=AT + timedelta(seconds=1), before=first)
    assert second == first
    later = state(report(0.1, 40.0), at=AT + timedelta(seconds=2), before=second)
    assert later.target is not None
    assert first.target is not None
    assert later.target.since != first.target.since
    assert later.throttled_until != first.throttled_until


def test_a_report_from_outside_cannot_name_a_time_that_no_date_has() -> None:
    report = ProcessorReport(throttled_s=1e300, target=TargetReport(state="down", for_s=1e300))
    shown = state(status(reports={"p": report}))
    assert shown.throttled_until == AT + timedelta(days=1)


def test_the_time_of_a_look_alone_is_no_change() -> None:
    broker = BrokerState(is_up=True, since=AT)
    assert Present(at=AT, broker=broker, flows={}) == Present(at=None, broker=broker, flows={})
