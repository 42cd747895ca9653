"""The status of all flows and services as text."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eventflow.cli.console import printable
from eventflow.control.reports import TargetReport
from eventflow.event import parse_time
from eventflow.operations.causes import cause_in_words
from eventflow.operations.status.eta import duration
from eventflow.operations.status.eta import in_words as eta_in_words
from eventflow.operations.status.flow import LANES, FlowStatus, RetryStatus
from eventflow.operations.status.look import Status
from eventflow.operations.status.services import Service
from eventflow.operations.status.spool import in_words as spool_in_words
from eventflow.operations.status.standing import THROTTLED_MIN_S, Standing, drain_of, standing_of

THROTTLED_MAX_S = 86_400
"""The longest pause that a setting allows. A report comes from outside, and may claim a time that no date has."""


def shown_of(status: Status) -> Group:
    """Return a block for each flow, one for the services, and one line for each possible loss."""
    parts: list[RenderableType] = []
    for flow in status.flows:
        parts += [*_block_of(flow, status.at), Text()]
    if status.services:
        parts += [Text("services", style="bold"), _rows(_service_rows(status.services))]
    if status.unasked is not None:
        parts.append(Text(f"No service could be asked: {printable(status.unasked)}.", style="yellow"))
    elif not any(service.kind == "collector" for service in status.services):
        parts.append(Text("No collector answered."))
    if status.spool is not None:
        parts.append(Text(spool_in_words(status.spool), style="bold red" if status.spool.failing else ""))
    return Group(*parts, *(Text(line, style="bold red") for line in status.losses))


def _block_of(flow: FlowStatus, at: datetime) -> tuple[Text, Table]:
    standing = standing_of(flow)
    style = {Standing.FLOWING: "green", Standing.THROTTLED: "yellow", Standing.UNKNOWN: "yellow"}.get(standing, "red")
    title = Text.assemble((flow.flow, "bold"), "  ", (standing.value, f"bold {style}"))
    return title, _rows(_flow_rows(flow, standing, at))


def _rows(rows: Iterable[tuple[str, str]]) -> Table:
    """Return lines of a name and a text. A long text continues below itself."""
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for name, text in rows:
        shown.add_row(f"  {printable(name)}", printable(text))  # both may come from outside
    return shown


def _flow_rows(flow: FlowStatus, standing: Standing, at: datetime) -> Iterator[tuple[str, str]]:
    yield from _causes(flow, at)
    yield "waiting", waiting(flow)
    yield "delayed", delayed(flow.retries)
    yield "dead", _count(flow.dead)
    yield "rate", rate(flow)
    yield "ETA", eta_in_words(drain_of(flow), standing)
    if flow.processors is None:
        yield "queues", "none yet: eventflow topology declares them, as a service does"
    if flow.silent:
        yield "silent", f"{flow.silent} of {flow.processors} processors did not answer"


def _causes(flow: FlowStatus, at: datetime) -> Iterator[tuple[str, str]]:
    """Yield each thing that stops or slows the flow, because several can at once."""
    if flow.orders.is_paused:
        since = parse_time(flow.orders.paused_at or "")
        ago = (
            "at an unknown time" if since is None else f"{_clock(since)}, {duration((at - since).total_seconds())} ago,"
        )
        yield "paused", f"{ago} by {flow.orders.paused_by or 'an unknown operator'}"
    if (target := flow.target) is not None and target.state != "up":
        yield "target", _target_in_words(target)
    for name, report in flow.reports.items():
        if report.blocked_by is not None:
            yield "errors", f"{name} meets internal errors: {report.blocked_by}; read internal.error in its log"
    if (flow.throttled_s or 0.0) >= THROTTLED_MIN_S:
        pause_s = min(flow.throttled_s or 0.0, THROTTLED_MAX_S)
        until = _clock(at + timedelta(seconds=pause_s))
        yield "throttled", f"until {until}, {duration(pause_s)} from now, because the target asked for it"


def _target_in_words(target: TargetReport) -> str:
    since = "" if target.for_s is None else f" for {duration(target.for_s)}"
    what = f"refuses every event with HTTP {target.status}" if target.state == "blocked" else f"is {target.state}"
    failure = target.failure
    if failure is None:
        return f"{what}{since}"
    return f"{what}{since}: {cause_in_words(**asdict(failure))}"


def waiting(flow: FlowStatus) -> str:
    """Return the events that wait: `12: 0 live, 0 due, 0 replay, 12 held (2 in flight)`."""
    lanes = ", ".join(f"{_count(flow.lanes[lane])} {name}" for name, lane in LANES.items())
    in_flight = f" ({flow.in_flight} in flight)" if flow.in_flight else ""
    if flow.processors is None:
        return lanes
    if flow.waiting is None:
        return f"at least {flow.ready}: {lanes}, unknown held"
    return f"{flow.waiting}: {lanes}, {flow.held} held{in_flight}"


def delayed(retries: Sequence[RetryStatus]) -> str:
    """Return the events in each retry queue: `3 in 1 s, 2 in 30 s (old)`. An old delay is no longer in a setting."""
    parts = [
        f"{retry.events} in {retry.delay_s:g} s{'' if retry.configured else ' (old)'}"
        for retry in retries
        if retry.events or (retry.events is not None and not retry.configured)
    ]
    return ", ".join(parts) or "0"


def rate(flow: FlowStatus) -> str:
    """Return the rates: `5/s ordered, 50/s configured`, and the present one if the target grants less."""
    report = flow.rate
    configured_per_s = flow.configured_per_s
    if report is not None and report.configured_per_s is not None:
        configured_per_s = None if math.isinf(report.configured_per_s) else report.configured_per_s
    ordered_per_s = flow.orders.rate_per_s
    limit_per_s = configured_per_s if ordered_per_s is None else ordered_per_s
    parts = [f"{_per_s(configured_per_s)} configured"]
    if ordered_per_s is not None:
        parts.insert(0, f"{_per_s(ordered_per_s)} ordered")
    if report is not None and report.now_per_s is not None and report.now_per_s != (limit_per_s or math.inf):
        parts.append(f"{_per_s(report.now_per_s)} now")
    return ", ".join(parts)


def _service_rows(services: Sequence[Service]) -> Iterator[tuple[str, str]]:
    for service in services:
        yield f"{service.kind} {service.name}", service.in_words


def _count(events: int | None) -> str:
    return "-" if events is None else str(events)


def _per_s(units: float | None) -> str:
    return "no limit" if units is None or math.isinf(units) else f"{units:.4g}/s"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
