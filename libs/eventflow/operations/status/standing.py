"""Judgement of a flow from its queues and the reports of its processors: its standing, and its drain ETA. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from eventflow.control.reports import ProcessorReport
from eventflow.operations.status.flow import FlowStatus

ETA_MIN_S = 1.0
"""Estimates are up to a second old, so a backlog that still exists is not shown as gone. For the same reason no ETA is
before the end of a pause."""

THROTTLED_MIN_S = 1.0
"""A leaky bucket at the target often has no room for a moment, which is normal."""


class Standing(StrEnum):
    """The state of a flow in one word: the first of these that applies."""

    PAUSED = "paused"
    NO_PROCESSOR = "no processor"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    DOWN = "target down"
    FAILING = "internal errors"
    NOT_SENDING = "not sending"
    THROTTLED = "throttled"
    FLOWING = "flowing"


STOPPED = frozenset(
    {
        Standing.PAUSED,
        Standing.NO_PROCESSOR,
        Standing.BLOCKED,
        Standing.DOWN,
        Standing.FAILING,
        Standing.NOT_SENDING,
    }
)
"""In these, nothing leaves the flow, except single probes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Estimate for the backlog of a flow; the rates are None if no processor has reported them.

    Attributes:
        eta_s: Seconds until nothing waits; infinite if the backlog does not shrink, or if nothing is sent.
    """

    eta_s: float
    arrival_per_s: float | None = None
    departure_per_s: float | None = None


def standing_of(status: FlowStatus) -> Standing:
    """Return the standing of a flow."""
    return next((standing for standing, applies in _judgements(status) if applies), Standing.FLOWING)


def _judgements(status: FlowStatus) -> Iterator[tuple[Standing, bool]]:
    """Yield whether each standing applies, in their order of precedence."""
    reports = status.reports.values()
    yield Standing.PAUSED, bool(status.orders.is_paused)
    yield Standing.NO_PROCESSOR, not status.processors
    yield Standing.UNKNOWN, not reports
    targets = {report.target.state for report in reports if report.target is not None}
    yield Standing.BLOCKED, "blocked" in targets
    yield Standing.DOWN, "down" in targets
    # These are states of single processors: a flow is in one of them if all its processors are.
    are_all_known = not status.silent
    yield Standing.FAILING, are_all_known and all(report.blocked_by is not None for report in reports)
    yield Standing.NOT_SENDING, are_all_known and all(_has_no_share(report) for report in reports)
    yield Standing.THROTTLED, (status.throttled_s or 0.0) >= THROTTLED_MIN_S


def drain_of(status: FlowStatus) -> Drain | None:
    """Return the estimate for the backlog; None if it is unknown."""
    reports = status.reports.values()
    arrivals = [report.arrival_per_s for report in reports if report.arrival_per_s is not None]
    departures = [report.departure_per_s for report in reports if report.departure_per_s is not None]
    eta_s = _eta_s(status)
    if eta_s is None:
        return None
    return Drain(eta_s=eta_s, arrival_per_s=max(arrivals, default=None), departure_per_s=max(departures, default=None))


def _eta_s(status: FlowStatus) -> float | None:
    standing = standing_of(status)
    if standing in STOPPED:
        return math.inf
    etas_s = [report.eta_s for report in status.reports.values() if report.eta_s is not None]
    if not etas_s:
        return None
    if status.waiting == 0:
        return 0.0
    return max(*etas_s, ETA_MIN_S, status.throttled_s or 0.0)


def _has_no_share(report: ProcessorReport) -> bool:
    return report.rate is not None and report.rate.share_per_s == 0
