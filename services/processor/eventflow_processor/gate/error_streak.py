"""Internal errors in a row: after three events, attempts stop, so that they neither repeat requests nor hold events.

An internal error is any exception in a turn that is neither an answer of the target nor a failure of the network: a
bug, a URL that cannot be used, no free file descriptor. It counts no attempt. If the turns of three different events in
a row end in one, the events are not at fault: the flow is *blocked* in this processor. Then one event at a time is
tried, a different one each time, after pauses of 1 to 10 s, until a turn ends without such an error (ADR 24).

A single event with content that raises never blocks a flow in which others are handled. It waits longer after each
error. Pure.
"""

import math
from collections import OrderedDict

BLOCKING_EVENTS = 3
TRY_PAUSE_MIN_S = 1.0
TRY_PAUSE_MAX_S = 10.0
REMEMBERED_EVENTS_MAX = 10_000


class ErrorStreak:
    """Internal errors in one flow of this processor; the caller passes the time.

    Attributes:
        blocked_by: Type of the latest error while the flow is blocked; otherwise None. Its text may contain secrets.
    """

    def __init__(self) -> None:
        self.blocked_by: str | None = None
        self._in_a_row: set[str] = set()
        self._times: OrderedDict[str, int] = OrderedDict()
        self._pause_s = TRY_PAUSE_MIN_S
        self._try_at_s = -math.inf

    def failed(self, event_id: str, error: Exception, *, now_s: float) -> int:
        """Note that a turn ended in an internal error; return the number of such turns of this event."""
        times = self._times.pop(event_id, 0) + 1
        self._times[event_id] = times
        if len(self._times) > REMEMBERED_EVENTS_MAX:
            self._times.popitem(last=False)
        if self.blocked_by is None:
            self._in_a_row.add(event_id)
            if len(self._in_a_row) < BLOCKING_EVENTS:
                return times
            self._pause_s = TRY_PAUSE_MIN_S
        elif now_s < self._try_at_s:
            return times  # its turn began before the flow was blocked, so it was no trial and doubles no pause
        else:
            self._pause_s = min(TRY_PAUSE_MAX_S, self._pause_s * 2)
        self.blocked_by = type(error).__name__
        self._try_at_s = now_s + self._pause_s
        return times

    @property
    def has_any(self) -> bool:
        """Whether the latest turn ended in an error."""
        return bool(self._in_a_row)

    def ended_well(self) -> None:
        """Note that a turn ended without an internal error, with any answer of the target."""
        self._in_a_row.clear()
        self.blocked_by = None

    def closed_s(self, *, now_s: float) -> float:
        """Return the seconds until an event may be tried; 0 if the flow is not blocked."""
        return 0.0 if self.blocked_by is None else max(0.0, self._try_at_s - now_s)
