"""How fast a flow may go now: what was configured or ordered, and what the target's answers have taught. Pure.

The rule is that of TCP: one step down for an episode of refusals, a little up for every second without.
"""

import math

from eventflow.control.overrides import RATE_MIN_PER_S
from eventflow_processor.quota.roster import JOIN_S

DECREASE = 0.5
RECOVERY_S = 240.0
"""How long the way up takes from nothing to the limit, so half of that after one step down. Slow on purpose: a target
that hands out less for good is asked for too much once in minutes."""

HEARD_STEP = 0.9
"""A rate that a peer tells is a step down of its own where it is below this part of ours; else an echo of the same."""


class AimdRate:
    """The rate of one flow as one processor knows it, in units per second; None stands for unlimited."""

    def __init__(self, limit_per_s: float | None) -> None:
        """Start at the limit."""
        self._limit = limit_per_s
        self._limit_after: tuple[float, float | None] | None = None  # from when on, which
        self._stated = math.inf
        self._learned = math.inf
        self._learned_at_s = 0.0
        self._stepped_at_s = -math.inf

    def limit_per_s(self, *, now_s: float) -> float | None:
        """Return what is allowed at most, whatever the target says."""
        if self._limit_after is not None and now_s >= self._limit_after[0]:
            self._limit, self._limit_after = self._limit_after[1], None
        return self._limit

    def rate_per_s(self, *, now_s: float) -> float | None:
        """Return what all processors together may spend now."""
        limit = self.limit_per_s(now_s=now_s)
        if limit is None:
            return None if math.isinf(self._stated) else max(RATE_MIN_PER_S, self._stated)
        recovered = self._learned + (now_s - self._learned_at_s) * limit / RECOVERY_S
        # An answer or a peer may name any rate above 0; below the least nothing would move for years.
        return min(limit, max(RATE_MIN_PER_S, min(self._stated, recovered)))

    def is_reduced(self, *, now_s: float) -> bool:
        """Whether the target gives less than the limit."""
        return self.rate_per_s(now_s=now_s) != self.limit_per_s(now_s=now_s)

    def set_limit(self, limit_per_s: float | None, *, now_s: float) -> None:
        """Take another limit: a lower one at once, a higher one when every peer must have heard of it."""
        current = self.limit_per_s(now_s=now_s)
        self._limit_after = None
        if current is not None and (limit_per_s is None or limit_per_s > current):
            self._limit_after = (now_s + JOIN_S, limit_per_s)
        else:
            self._limit = limit_per_s

    def refused(self, *, sent_s: float, now_s: float) -> bool:
        """Step down for a refusal, once in an episode: requests sent before the last step tell nothing new.

        Returns:
            Whether this was a step.
        """
        limit = self.limit_per_s(now_s=now_s)
        if limit is None or sent_s <= self._stepped_at_s:
            return False
        self._learn(max((self.rate_per_s(now_s=now_s) or limit) * DECREASE, limit / RECOVERY_S), now_s=now_s)
        self._stepped_at_s = now_s
        return True

    def heard(self, rate_per_s: float, *, now_s: float) -> bool:
        """Take over a lower rate from a peer; return whether that was a step down."""
        current = self.rate_per_s(now_s=now_s)
        if current is None or rate_per_s >= current:
            return False
        is_step = rate_per_s < current * HEARD_STEP
        self._learn(rate_per_s, now_s=now_s)
        if is_step:
            self._stepped_at_s = now_s
        return is_step

    def stated(self, rate_per_s: float) -> None:
        """Take over the rate that the target itself names; it holds until it names another."""
        self._stated = rate_per_s

    def _learn(self, rate_per_s: float, *, now_s: float) -> None:
        self._learned, self._learned_at_s = rate_per_s, now_s
