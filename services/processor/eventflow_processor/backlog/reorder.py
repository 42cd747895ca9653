"""Lateness of events that are delivered out of order. Pure.

An event is late by the time since the first delivery of an event that was accepted after it. To find that delivery, the
*records* suffice: deliveries of an event that was accepted later than all events delivered before. Among all deliveries
of events that were accepted after a given one, the first is always a record. Records are sorted by both times, so a
binary search finds it.
"""

from bisect import bisect_right

RESOLUTION_S = 0.25
"""Records closer than this share an entry, so that the number of entries does not depend on the rate."""

ENTRIES_MAX = 16_384
"""Above it the older half is dropped. The rest spans half an hour or more, and older events count as that late."""


class Reorder:
    """Order of the deliveries of one flow in one processor."""

    def __init__(self) -> None:
        self._accepted_s: list[float] = []
        self._delivered_s: list[float] = []

    def delivered(self, *, accepted_s: float, now_s: float) -> float:
        """Note a delivery and return its lateness in seconds; 0 if it is in order.

        Args:
            accepted_s: Time at which the event was accepted, by a clock that all events share.
            now_s: Time of the delivery, by a monotonic clock.
        """
        later = bisect_right(self._accepted_s, accepted_s)
        if later < len(self._accepted_s):
            return now_s - self._delivered_s[later]
        self._record(accepted_s, now_s)
        return 0.0

    def _record(self, accepted_s: float, now_s: float) -> None:
        if self._delivered_s and now_s - self._delivered_s[-1] < RESOLUTION_S:
            self._accepted_s[-1] = accepted_s  # overstates lateness by less than the resolution
            return
        if len(self._accepted_s) == ENTRIES_MAX:
            del self._accepted_s[: ENTRIES_MAX // 2], self._delivered_s[: ENTRIES_MAX // 2]
        self._accepted_s.append(accepted_s)
        self._delivered_s.append(now_s)
