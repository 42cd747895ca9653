"""Estimated time until the backlog of a flow is gone, in words."""

import math

from eventflow.operations.status.standing import STOPPED, Drain, Standing

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400


def in_words(drain: Drain | None, standing: Standing) -> str:
    """Return the estimate for display: `in 14 min`, or the reason for which the backlog does not shrink."""
    if drain is None:
        return "unknown"
    if standing in STOPPED:
        return f"never: {standing.value}"
    if math.isinf(drain.eta_s):
        return f"never at this rate: {_rate(drain.arrival_per_s)} in, {_rate(drain.departure_per_s)} out"
    return "nothing waits" if drain.eta_s == 0 else f"in {duration(drain.eta_s)}"


def duration(duration_s: float) -> str:
    """Return a time in one unit: `14 min`."""
    for unit_s, unit in ((_DAY_S, "days"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if duration_s >= 2 * unit_s:
            return f"{duration_s / unit_s:.0f} {unit}"
    return f"{math.ceil(duration_s)} s"


def _rate(per_s: float | None) -> str:
    if per_s is None:
        return "?/s"
    return f"{per_s:.2g}/s" if per_s < 10 else f"{per_s:.0f}/s"
