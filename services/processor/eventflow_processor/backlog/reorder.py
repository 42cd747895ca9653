"""How far events are delivered out of order. Pure.

An event is late by the time since the first delivery of one that was accepted after it. Only those deliveries count
that reached beyond all before them: the first of them that was accepted later is the first of all.
"""

from bisect import bisect_right

RESOLUTION_S = 0.25
"""Deliveries closer than this share an entry, so that their number does not depend on the rate."""

ENTRIES_MAX = 16_384
"""Above it the older half is forgotten: an event late by more than half an hour at least is told to be that late."""


class Reorder:
    """Watches the deliveries of one flow in one processor."""

    def __init__(self) -> None:
        self._accepted_s: list[float] = []
        self._delivered_s: list[float] = []

    def delivered(self, *, accepted_s: float, now_s: float) -> float:
        """Take note of a delivery and return how many seconds it was late; 0 for one in order.

        Args:
            accepted_s: When the event was accepted; by any clock that all events share.
            now_s: A clock that never goes back.
        """
        later = bisect_right(self._accepted_s, accepted_s)
        if later < len(self._accepted_s):
            return now_s - self._delivered_s[later]
        self._reach(accepted_s, now_s)
        return 0.0

    def _reach(self, accepted_s: float, now_s: float) -> None:
        if self._delivered_s and now_s - self._delivered_s[-1] < RESOLUTION_S:
            self._accepted_s[-1] = accepted_s
            return
        if len(self._accepted_s) == ENTRIES_MAX:
            del self._accepted_s[: ENTRIES_MAX // 2], self._delivered_s[: ENTRIES_MAX // 2]
        self._accepted_s.append(accepted_s)
        self._delivered_s.append(now_s)
