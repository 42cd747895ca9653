"""Estimated time until the backlog of a flow is empty, read from the metrics of a processor, which measures rates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client.samples import Sample

from eventflow.cli.scrape import values_by_flow

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogEta:
    """Estimate for the backlog of a flow; `eta_s` is infinite if the backlog does not shrink."""

    eta_s: float
    arrival_per_s: float
    departure_per_s: float


def etas_of(samples: Sequence[Sample]) -> dict[str, BacklogEta]:
    """Return the estimates by flow."""
    arrivals = values_by_flow(samples, "eventflow_arrival_events_per_second")
    departures = values_by_flow(samples, "eventflow_departure_events_per_second")
    return {
        flow: BacklogEta(eta_s=eta_s, arrival_per_s=arrivals.get(flow, 0.0), departure_per_s=departures.get(flow, 0.0))
        for flow, eta_s in values_by_flow(samples, "eventflow_drain_eta_seconds").items()
    }


def in_words(eta: BacklogEta | None) -> str:
    """Return the estimate for display: `in 14 min`, or the two rates if the backlog does not shrink."""
    if eta is None:
        return "-"
    if math.isinf(eta.eta_s):
        return f"never at this rate: {_rate(eta.arrival_per_s)} in, {_rate(eta.departure_per_s)} out"
    return "empty" if eta.eta_s == 0 else f"in {_duration(eta.eta_s)}"


def _rate(per_s: float) -> str:
    return f"{per_s:.2g}/s" if per_s < 10 else f"{per_s:.0f}/s"


def _duration(duration_s: float) -> str:
    for unit_s, unit in ((_DAY_S, "days"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if duration_s >= 2 * unit_s:
            return f"{duration_s / unit_s:.0f} {unit}"
    return f"{math.ceil(duration_s)} s"
