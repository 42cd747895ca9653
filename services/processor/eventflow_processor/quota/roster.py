"""Membership: the number of processors that share a flow's quota. Pure; the caller passes the time.

Each processor has exactly one consumer on the events queue while it works, and the broker counts the consumers. So the
whole protocol is a check of the queue once a second (ADR 7), which grants a lease. Three rules keep the shares from
adding up to more than the quota:

* A processor that joins waits `JOIN_S` before it spends, unless two checks, `APART_S` apart, show that it is alone, or
  the others have answered that they have counted it (`introduction`).
* A processor spends only within `LEASE_S` of the start of its last successful check.
* A share shrinks at the first check that shows more consumers, and grows at the second that shows fewer, `APART_S` or
  more after the first.

While no event comes, checks are rare, and the lease ends. The next event starts a check at once. None of the rules
depends on the time between two checks: a lease of any age shows that its check counted all who joined `LEASE_S` before.

Each figure follows from the others. Peers check every `POLL_S`. So `JOIN_S = LEASE_S + POLL_S` after a join, each peer
either has counted the new consumer, or has stopped because its last check is older than `LEASE_S`. If a peer becomes
silent, the broker drops its consumer after 20 s at the earliest, long after the end of its lease.
"""

import math
from dataclasses import dataclass

POLL_S = 1.0
LEASE_S = 3.0
"""Time from the start of a successful check during which spending is allowed. It is far below the 20 s after which the
broker drops a silent peer, so that its share goes to the others."""

JOIN_S = LEASE_S + POLL_S

APART_S = 0.9 * POLL_S
"""Shortest time between the two checks that let a share grow. A check that an event starts can follow a regular one
within a millisecond. The timer of a regular check can be a little early."""


@dataclass(slots=True, kw_only=True)
class Roster:
    """The processors that share the quota, as one of them knows it.

    Attributes:
        is_member: Whether the others have counted this processor, so that it may spend.
        processors: Number of processors that share the quota, this one included; 0 while unknown.
        joins: Number of times that this processor has joined.
    """

    is_member: bool = False
    processors: int = 0
    joins: int = 0
    _joined_at_s: float = math.inf
    _looked_at_s: float = -math.inf
    _period_began_s: float = -math.inf
    _count: int = 0  # the largest of the present period of `APART_S`
    _count_before: int = 0  # that of the period before

    def joined(self, *, now_s: float) -> None:
        """Note that the consumer of this processor has just been started."""
        self.left()
        self.joins += 1
        self._joined_at_s = now_s

    def admitted(self) -> None:
        """Note that all other processors have counted this one, before it has waited `JOIN_S`."""
        self.is_member = True

    def left(self) -> None:
        """Note that this processor no longer has a consumer."""
        self.is_member = False
        self.processors = self._count = self._count_before = 0
        self._joined_at_s, self._looked_at_s, self._period_began_s = math.inf, -math.inf, -math.inf

    def consumers_counted(self, consumers: int, *, began_s: float, is_proved: bool = True) -> bool:
        """Note the number of consumers that a check found; return whether the check was successful.

        Args:
            began_s: Start of the check. The answer may be late, and its count may be as old as the request.
            is_proved: Whether a majority of the brokers answered in the check. Otherwise it renews no lease.
        """
        if consumers < 1 or began_s < self._joined_at_s:
            return False  # this processor's own consumer is not counted, so that of a peer may be missing too
        # A share grows one period late: a peer whose consumer the broker has dropped may notice the end of its
        # connection a moment later, and spends until then. So one that has lost its broker together with all peers, and
        # is the first one back, takes itself for alone one period late.
        if began_s >= self._period_began_s + APART_S:
            self._count_before, self._count, self._period_began_s = self._count, consumers, began_s
        else:
            self._count = max(self._count, consumers)
        self.processors = max(self._count, self._count_before)
        if not is_proved:
            return False
        self._looked_at_s = began_s
        is_alone = self._count == self._count_before == 1
        if is_alone or began_s >= self._joined_at_s + JOIN_S:
            self.is_member = True
        return True

    def lease_s(self, *, now_s: float) -> float:
        """Return the number of seconds for which spending is still allowed; 0 if it is not."""
        return max(0.0, self._looked_at_s + LEASE_S - now_s) if self.is_member else 0.0
