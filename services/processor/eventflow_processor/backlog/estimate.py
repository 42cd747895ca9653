"""When a backlog will be gone: backlog / (what can leave - what arrives), over the last minute. Pure.

What leaves is counted by each processor for itself, and all of them have equal shares of the quota. What arrives
follows from that and from how the backlog changed.
"""

import math
from collections import deque
from dataclasses import dataclass

WINDOW_S = 60.0
"""Long enough to smooth what comes in bursts, short enough to follow a peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogEstimate:
    """How the backlog of a flow goes on if nothing changes.

    Attributes:
        arrival_per_s: Events that come into the lanes.
        departure_per_s: Events that leave them, whatever became of them.
        eta_s: Seconds until the backlog is gone; infinite when it never is.
    """

    arrival_per_s: float
    departure_per_s: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class _Look:
    at_s: float
    waiting: int
    departed: int


class BacklogEstimator:
    """Watches the backlog of one flow."""

    def __init__(self) -> None:
        """Start without a history."""
        self._looks: deque[_Look] = deque()
        self._departed = 0
        self._departed_here = 0

    def look(
        self, *, at_s: float, waiting: int, departed_here: int, processors: int, quota_per_s: float
    ) -> BacklogEstimate:
        """Take note of the backlog and return what follows.

        Args:
            at_s: A clock that never goes back.
            waiting: Events ready in the lanes.
            departed_here: Events that have left them through this processor so far.
            processors: How many there are, with this one.
            quota_per_s: Events that all of them may attempt per second now; infinite without a quota.
        """
        self._departed += (departed_here - self._departed_here) * max(1, processors)
        self._departed_here = departed_here
        self._looks.append(_Look(at_s, waiting, self._departed))
        while len(self._looks) > 2 and self._looks[1].at_s <= at_s - WINDOW_S:
            self._looks.popleft()
        return self._estimate(quota_per_s)

    def _estimate(self, quota_per_s: float) -> BacklogEstimate:
        first, last = self._looks[0], self._looks[-1]
        elapsed_s = last.at_s - first.at_s
        if elapsed_s <= 0:
            return BacklogEstimate(arrival_per_s=0.0, departure_per_s=0.0, eta_s=last.waiting / quota_per_s)
        departure_per_s = (last.departed - first.departed) / elapsed_s
        arrival_per_s = max(0.0, departure_per_s + (last.waiting - first.waiting) / elapsed_s)
        # While something waits all the time, what leaves is all that can. Else the quota is, which is not used up.
        is_busy = all(look.waiting for look in self._looks)
        spare_per_s = (departure_per_s if is_busy else quota_per_s) - arrival_per_s
        return BacklogEstimate(
            arrival_per_s=arrival_per_s,
            departure_per_s=departure_per_s,
            eta_s=0.0 if not last.waiting else last.waiting / spare_per_s if spare_per_s > 0 else math.inf,
        )
