"""Estimate of the time until a backlog is gone: backlog / (departure rate - arrival rate), over the last minute. Pure.

Each processor counts its own departures. All have equal shares of the quota, so the total is this number times the
number of processors. The arrivals are calculated from the departures and the change of the backlog.
"""

import math
from collections import deque
from dataclasses import dataclass, replace

WINDOW_S = 60.0
"""Long enough to smooth bursts, short enough to follow a peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogEstimate:
    """Rates of a flow, and the time until the backlog is gone if they do not change.

    Attributes:
        arrival_per_s: Events per second that enter the lanes.
        departure_per_s: Events per second that leave them, with any outcome.
        eta_s: Seconds until the backlog is gone; infinite if it does not shrink.
    """

    arrival_per_s: float
    departure_per_s: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class _Look:
    at_s: float
    waiting: int
    departed: int
    is_busy: bool


class BacklogEstimator:
    """Estimates of one flow, each from the checks of the last minute."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()
        self._departed = 0
        self._departed_here = 0
        self._was_flowing = True

    def look(
        self,
        *,
        at_s: float,
        waiting: int,
        is_busy: bool,
        is_flowing: bool,
        departed_here: int,
        processors: int,
        quota_per_s: float,
    ) -> BacklogEstimate:
        """Add a check of the queues and return the new estimate.

        Args:
            at_s: Time of the check by a monotonic clock.
            waiting: Events ready in the lanes, and those that processors hold.
            is_busy: Whether any of them waits for its turn; the others are in flight.
            is_flowing: Whether events leave at all. If not, the backlog is never gone.
            departed_here: Events that have left the lanes through this processor since its start.
            processors: Number of processors, this one included.
            quota_per_s: Attempts per second that all processors together may start now; infinite without a quota.
        """
        self._departed += (departed_here - self._departed_here) * max(1, processors)
        self._departed_here = departed_here
        if is_flowing and not self._was_flowing:
            self._looks.clear()  # the rates of a standstill predict nothing
        self._was_flowing = is_flowing
        self._looks.append(_Look(at_s, waiting, self._departed, is_busy))
        # One check from before the window is kept, so that the checks span the whole window.
        while len(self._looks) > 2 and self._looks[1].at_s <= at_s - WINDOW_S:
            self._looks.popleft()
        estimate = self._estimate(quota_per_s)
        return estimate if is_flowing else replace(estimate, eta_s=math.inf)

    def _estimate(self, quota_per_s: float) -> BacklogEstimate:
        first, last = self._looks[0], self._looks[-1]
        elapsed_s = last.at_s - first.at_s
        if elapsed_s <= 0:
            return BacklogEstimate(arrival_per_s=0.0, departure_per_s=0.0, eta_s=last.waiting / quota_per_s)
        departure_per_s = (last.departed - first.departed) / elapsed_s
        arrival_per_s = max(0.0, departure_per_s + (last.waiting - first.waiting) / elapsed_s)
        # If the lanes were never empty, the departure rate is the full capacity. Otherwise the quota is, because it was
        # not exhausted.
        is_busy = all(look.is_busy for look in self._looks)
        spare_per_s = (departure_per_s if is_busy else quota_per_s) - arrival_per_s
        return BacklogEstimate(
            arrival_per_s=arrival_per_s,
            departure_per_s=departure_per_s,
            eta_s=0.0 if not last.waiting else last.waiting / spare_per_s if spare_per_s > 0 else math.inf,
        )
