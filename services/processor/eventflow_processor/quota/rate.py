"""Rate that a flow may use now, from its limit and the target's answers: AIMD, as in TCP. Pure.

AIMD is additive increase, multiplicative decrease: an episode of refusals halves the rate once, and without refusals
the rate grows linearly with time.
"""

import math

from eventflow.control.overrides import RATE_MIN_PER_S
from eventflow_processor.quota.roster import JOIN_S

DECREASE = 0.5
RECOVERY_S = 240.0
"""Duration of the recovery from 0 to the limit; half of it after one decrease. It is slow on purpose: a target that
permanently allows less than the limit gets one request too many only once in some minutes."""

PEER_DECREASE = 0.9
"""A peer's rate below this part of ours is a new decrease. A rate above it repeats a known decrease."""


class AimdRate:
    """Rate of one flow as one processor knows it, in units per second; None stands for unlimited."""

    def __init__(self, limit_per_s: float | None) -> None:
        """Start at the limit."""
        self._limit = limit_per_s
        # The time from which the next limit applies, and this limit.
        self._limit_after: tuple[float, float | None] | None = None
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
        # A target or a peer may state any rate above 0. With 1e-300 nothing would be sent for years.
        return min(limit, max(RATE_MIN_PER_S, min(self._stated, recovered)))

    def is_reduced(self, *, now_s: float) -> bool:
        """Whether the rate is below the limit, because of the target's answers."""
        return self.rate_per_s(now_s=now_s) != self.limit_per_s(now_s=now_s)

    def set_limit(self, limit_per_s: float | None, *, now_s: float) -> None:
        """Set another limit. A lower one applies at once, a higher one only after every peer has received it for sure.

        Otherwise some processors would use shares of the new limit while others still use shares of the old one.
        """
        current = self.limit_per_s(now_s=now_s)
        self._limit_after = None
        if current is not None and (limit_per_s is None or limit_per_s > current):
            self._limit_after = (now_s + JOIN_S, limit_per_s)
        else:
            self._limit = limit_per_s

    def refused(self, *, sent_s: float, now_s: float) -> bool:
        """Note a refusal, and decrease the rate once for each episode; return whether this call decreased it.

        A request that was sent before the last decrease was sent at the old rate, so its refusal has no effect.
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
        """Take over the rate that the target itself states; it applies until the target states another."""
        self._stated = rate_per_s

    def _learn(self, rate_per_s: float, *, now_s: float) -> None:
        self._learned, self._learned_at_s = rate_per_s, now_s
