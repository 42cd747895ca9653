"""Rate that a flow may have now, from its limit and the target's answers: AIMD, as TCP does it. Pure.

AIMD is additive increase, multiplicative decrease: the rate is halved once for an episode of refusals, and grows
linearly with the time that passes without one.
"""

import math

from eventflow.control.overrides import RATE_MIN_PER_S
from eventflow_processor.quota.roster import JOIN_S

DECREASE = 0.5
RECOVERY_S = 240.0
"""How long the recovery from 0 to the limit takes, so half of that after one decrease. It is slow on purpose: a target
that grants less for good is asked for too much only once in minutes."""

PEER_DECREASE = 0.9
"""A peer's rate below this part of ours is a decrease of its own; above it, an echo of one that is known already."""


class AimdRate:
    """Rate of one flow as one processor knows it, in units per second; None stands for unlimited."""

    def __init__(self, limit_per_s: float | None) -> None:
        """Start at the limit."""
        self._limit = limit_per_s
        self._limit_after: tuple[float, float | None] | None = None  # the time from which on another limit holds
        self._stated = math.inf
        self._learned = math.inf
        self._learned_at_s = 0.0
        self._decreased_at_s = -math.inf

    def limit_per_s(self, *, now_s: float) -> float | None:
        """Return the upper bound, from the configuration or an operator."""
        if self._limit_after is not None and now_s >= self._limit_after[0]:
            self._limit, self._limit_after = self._limit_after[1], None
        return self._limit

    def rate_per_s(self, *, now_s: float) -> float | None:
        """Return the units per second that all processors together may spend now."""
        limit = self.limit_per_s(now_s=now_s)
        if limit is None:
            return None if math.isinf(self._stated) else max(RATE_MIN_PER_S, self._stated)
        recovered = self._learned + (now_s - self._learned_at_s) * limit / RECOVERY_S
        # A target or a peer may state any rate above 0. At 1e-300 nothing would be sent for years.
        return min(limit, max(RATE_MIN_PER_S, min(self._stated, recovered)))

    def is_reduced(self, *, now_s: float) -> bool:
        """Whether the target grants less than the limit."""
        return self.rate_per_s(now_s=now_s) != self.limit_per_s(now_s=now_s)

    def set_limit(self, limit_per_s: float | None, *, now_s: float) -> None:
        """Set another limit. A lower one holds at once, a higher one only after every peer must have received it.

        Otherwise the first processors would spend shares of the new limit while the last still spend theirs of the old.
        """
        current = self.limit_per_s(now_s=now_s)
        self._limit_after = None
        if current is not None and (limit_per_s is None or limit_per_s > current):
            self._limit_after = (now_s + JOIN_S, limit_per_s)
        else:
            self._limit = limit_per_s

    def refused(self, *, sent_s: float, now_s: float) -> bool:
        """Note a refusal, and decrease the rate once in an episode; return whether it was decreased now.

        A request that was sent before the last decrease was sent at the old rate, so its refusal is no news.
        """
        limit = self.limit_per_s(now_s=now_s)
        if limit is None or sent_s <= self._decreased_at_s:
            return False
        self._learn(max((self.rate_per_s(now_s=now_s) or limit) * DECREASE, limit / RECOVERY_S), now_s=now_s)
        self._decreased_at_s = now_s
        return True

    def peer_reduced(self, rate_per_s: float, *, now_s: float) -> bool:
        """Take over the rate of a peer if it is lower; return whether that is a new decrease."""
        current = self.rate_per_s(now_s=now_s)
        if current is None or rate_per_s >= current:
            return False
        is_decrease = rate_per_s < current * PEER_DECREASE
        self._learn(rate_per_s, now_s=now_s)
        if is_decrease:
            self._decreased_at_s = now_s
        return is_decrease

    def stated(self, rate_per_s: float) -> None:
        """Take over the rate that the target itself states; it holds until the target states another."""
        self._stated = rate_per_s

    def _learn(self, rate_per_s: float, *, now_s: float) -> None:
        self._learned, self._learned_at_s = rate_per_s, now_s
