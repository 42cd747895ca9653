"""Membership: how many processors share a flow's quota. Pure; the caller passes the time.

Each processor has exactly one consumer on the events queue for as long as it works, and the broker counts them. So the
whole protocol is a look at the queue once a second (ADR 7), which grants a lease. Three rules keep the shares from
adding up to more than the quota:

* A processor that joins waits `JOIN_S` before it spends, unless it is alone.
* A processor spends only within `LEASE_S` of the start of its last successful look.
* A share shrinks at the first look that shows more consumers, and grows at the second that shows fewer.

The figures follow from one another. Peers look every `POLL_S`. So at `JOIN_S = LEASE_S + POLL_S` after a join each peer
either has counted the new consumer, or its last look is older than `LEASE_S` and it has stopped. In the other
direction, the broker drops the consumer of a silent peer after 20 s at the earliest, long after that peer's lease.
"""

import math
from dataclasses import dataclass

POLL_S = 1.0
LEASE_S = 3.0
"""How long after the start of a successful look spending is allowed. Far below the 20 s after which the broker drops a
silent peer and its share goes to the others."""

JOIN_S = LEASE_S + POLL_S


@dataclass(slots=True, kw_only=True)
class Roster:
    """The processors that share the quota, as one of them knows it.

    Attributes:
        is_member: Whether the others have counted this processor, so that it may spend.
        processors: How many share, this one included; 0 while unknown.
    """

    is_member: bool = False
    processors: int = 0
    _joined_at_s: float = math.inf
    _looked_at_s: float = -math.inf
    _last_count: int = 0

    def joined(self, *, now_s: float) -> None:
        """Note that the consumer of this processor has just been started."""
        self.left()
        self._joined_at_s = now_s

    def left(self) -> None:
        """Note that this processor has no consumer any more."""
        self.is_member = False
        self.processors = self._last_count = 0
        self._joined_at_s, self._looked_at_s = math.inf, -math.inf

    def looked(self, consumers: int, *, began_s: float) -> None:
        """Note the number of consumers that a look found.

        Args:
            began_s: Start of the look. The answer may be late, and its count is only as fresh as the question.
        """
        if consumers < 1 or began_s < self._joined_at_s:
            return  # this processor's own consumer is not counted, so neither may be that of a peer
        # The larger of the last two counts, so a share grows one look late: a peer that is gone for the broker may
        # notice the end of its connection a moment later, and spends until then.
        self.processors = max(consumers, self._last_count)
        self._last_count = consumers
        self._looked_at_s = began_s
        if consumers == 1 or began_s >= self._joined_at_s + JOIN_S:
            self.is_member = True

    def lease_s(self, *, now_s: float) -> float:
        """Return for how many seconds spending is allowed from now on; 0 if it is not."""
        return max(0.0, self._looked_at_s + LEASE_S - now_s) if self.is_member else 0.0
