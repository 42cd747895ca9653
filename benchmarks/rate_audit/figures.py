"""Figures of a quota and of arrivals. Pure."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.target.rates import SlidingWindowMaximum

SECOND_S = 1.0
RECOVERY_WINDOW_S = 2.0
"""Long enough that neither the phases of slow shares nor a late timer look like a dip."""
_GRID_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Quota of a flow, as set at its processors.

    Attributes:
        rate_per_s: Units per second.
        burst: Units at once, after an idle time.
        cost: Units of one request.
    """

    rate_per_s: float
    burst: float = 1.0
    cost: float = 1.0

    @property
    def requests_per_s(self) -> float:
        """Requests per second that the rate allows at this cost."""
        return self.rate_per_s / self.cost

    def at_once(self, processors: int) -> float:
        """Return the units that so many processors may spend at once; each bucket holds at least one request."""
        return max(self.burst, processors * self.cost)

    def bound(self, processors: int) -> int:
        """Return the largest allowed number of requests within any window of 1 s."""
        units = self.rate_per_s + self.at_once(processors) + max(1.0, 0.02 * self.rate_per_s)
        return math.floor(units / self.cost)

    def target_burst(self, processors: int) -> float:
        """Return the size of a target's bucket, in units, that never refuses a request within the quota."""
        return self.at_once(processors) + max(1.0, 0.05 * self.rate_per_s)

    def period_s(self, processors: int) -> float:
        """Return the time between two requests of one processor among so many."""
        return processors * self.cost / self.rate_per_s


def between(arrivals_s: Sequence[float], start_s: float, end_s: float) -> Sequence[float]:
    """Return the arrivals from start to end, without the end."""
    return arrivals_s[bisect_left(arrivals_s, start_s) : bisect_left(arrivals_s, end_s)]


def utilisation(
    arrivals_s: Sequence[float], *, start_s: float, end_s: float, per_s: float, fade_s: float = 0.0
) -> float:
    """Return the rate of arrivals within a time, as a share of `per_s`.

    Args:
        fade_s: Time at both ends over which the weight of arrivals rises and falls. If it is the time between two
            requests of one processor, the phase of each processor at the ends does not matter.
    """
    came = sum(
        min(1.0, (at_s - start_s) / fade_s, (end_s - at_s) / fade_s) if fade_s else 1.0
        for at_s in between(arrivals_s, start_s, end_s)
    )
    return came / (per_s * (end_s - start_s - fade_s))


def highest(arrivals_s: Sequence[float], *, window_s: float = SECOND_S) -> int:
    """Return the highest number of arrivals in any window of `window_s`."""
    window = SlidingWindowMaximum(window_s)
    for at_s in arrivals_s:
        window.add(at_s)
    return window.maximum


def latest_s(stalls_s: Iterable[tuple[float, float]], *, start_s: float, end_s: float) -> float:
    """Return the longest delay of the target within a time; `stalls_s` has the end and the delay of each stall."""
    return max((late_s for ended_s, late_s in stalls_s if start_s <= ended_s <= end_s), default=0.0)


def recovery_s(arrivals_s: Sequence[float], *, since_s: float, until_s: float, per_s: float, share: float) -> float:
    """Return the time after which every window of 2 s has at least that share of `per_s`; 0 if it always had."""
    enough = share * per_s * RECOVERY_WINDOW_S
    recovered_s = since_s
    windows = int((until_s - RECOVERY_WINDOW_S - since_s) / _GRID_S)
    for start_s in (since_s + number * _GRID_S for number in range(windows)):
        if len(between(arrivals_s, start_s, start_s + RECOVERY_WINDOW_S)) < enough:
            recovered_s = start_s + _GRID_S
    return recovered_s - since_s
