"""Who shares a flow's quota: as many as consume from its events queue. Pure; the caller brings the clock.

Each processor has exactly one consumer there for as long as it works, and the broker counts them. So a look at the
queue once a second is the whole protocol (ADR 7). Three rules keep the shares from adding up to more than the quota:

* whoever joins waits until every peer must have seen it, or has stopped spending;
* whoever could not look for a while stops spending, before its share can be given away;
* a share shrinks at the first look that says so, and grows at the second.
"""

import math
from dataclasses import dataclass

POLL_S = 1.0
LEASE_S = 3.0
"""How long after the beginning of a good look spending is allowed. Far below the 20 s after which the broker drops a
silent peer and its share goes to the others."""

JOIN_S = LEASE_S + POLL_S


@dataclass(slots=True, kw_only=True)
class Roster:
    """What one processor knows of those who share the quota with it, itself included.

    Attributes:
        is_member: Whether the others have taken us into account, so that we may spend.
        processors: How many share; 0 while unknown.
    """

    is_member: bool = False
    processors: int = 0
    _joined_at_s: float = math.inf
    _looked_at_s: float = -math.inf
    _last_count: int = 0

    def joined(self, *, now_s: float) -> None:
        """Note that our consumer has just been started."""
        self.left()
        self._joined_at_s = now_s

    def left(self) -> None:
        """Note that we have no consumer: lost, or given up."""
        self.is_member = False
        self.processors = self._last_count = 0
        self._joined_at_s, self._looked_at_s = math.inf, -math.inf

    def looked(self, consumers: int, *, began_s: float) -> None:
        """Note how many consumers a look found that began at `began_s`; one that misses ours is no good look."""
        if consumers < 1 or began_s < self._joined_at_s:
            return
        self.processors = max(consumers, self._last_count)
        self._last_count = consumers
        self._looked_at_s = began_s
        if consumers == 1 or began_s >= self._joined_at_s + JOIN_S:
            self.is_member = True

    def lease_s(self, *, now_s: float) -> float:
        """Return for how long spending is allowed from now on; 0 where it is not."""
        return max(0.0, self._looked_at_s + LEASE_S - now_s) if self.is_member else 0.0
