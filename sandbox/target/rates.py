"""Rate limits, and the measure of a rate. Pure: the caller passes the time."""

from collections import deque
from itertools import accumulate
from typing import Protocol, Self

_STRICT_WINDOW_S = 1.0


class Limit(Protocol):
    """Rate limit of a target, in units; each request has a cost."""

    def take(self, now_s: float, *, cost: float = 1.0) -> float:
        """Accept one request and return 0, or return the seconds until it would be accepted."""

    def changed(self, now_s: float, *, rate_per_s: float, burst: float) -> Self:
        """Return a limit of the same kind with other figures and the same level."""


class LeakyBucket:
    """Leaky bucket as at Shopify: each request adds its cost, and a request that does not fit is refused.

    Args:
        rate_per_s: Units that leak per second, above 0.
        burst: Size in units.
    """

    def __init__(self, *, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._level = 0.0
        self._seen_s: float | None = None

    def take(self, now_s: float, *, cost: float = 1.0) -> float:
        """Accept one request if it fits and return 0, or return the seconds until it would fit."""
        self._leak(now_s)
        excess = self._level + cost - self._burst
        if excess > 0:
            return excess / self._rate_per_s
        self._level += cost
        return 0.0

    def level(self, now_s: float) -> float:
        """Return the units in the bucket."""
        self._leak(now_s)
        return self._level

    def changed(self, now_s: float, *, rate_per_s: float, burst: float) -> "LeakyBucket":
        """Return a bucket with other figures and the same level."""
        bucket = LeakyBucket(rate_per_s=rate_per_s, burst=burst)
        bucket._level = min(self.level(now_s), burst)
        bucket._seen_s = now_s
        return bucket

    def _leak(self, now_s: float) -> None:
        if self._seen_s is not None:
            self._level = max(0.0, self._level - (now_s - self._seen_s) * self._rate_per_s)
        self._seen_s = now_s


class StrictWindow:
    """Limit of `rate_per_s + burst` units in any window of 1 s. Refused requests do not count.

    Args:
        rate_per_s: Units per second, above 0.
        burst: Units beyond them in one window.
    """

    def __init__(self, *, rate_per_s: float, burst: float) -> None:
        self._limit = rate_per_s + burst
        self._taken: deque[tuple[float, float]] = deque()
        """For each accepted request in the window: the time at which it leaves the window, and its cost."""
        self._level = 0.0

    def take(self, now_s: float, *, cost: float = 1.0) -> float:
        """Accept one request and return 0, or return the seconds until it would be accepted."""
        self._forget(now_s)
        excess = self._level + cost - self._limit
        if excess <= 0:
            self._taken.append((now_s + _STRICT_WINDOW_S, cost))
            self._level += cost
            return 0.0
        freed = accumulate(cost for _, cost in self._taken)
        enough = (leaves_s for (leaves_s, _), units in zip(self._taken, freed, strict=True) if units >= excess)
        return next(enough, self._taken[-1][0]) - now_s

    def changed(self, now_s: float, *, rate_per_s: float, burst: float) -> "StrictWindow":
        """Return a window with another limit that still counts the accepted requests."""
        self._forget(now_s)
        window = StrictWindow(rate_per_s=rate_per_s, burst=burst)
        window._taken, window._level = self._taken.copy(), self._level
        return window

    def _forget(self, now_s: float) -> None:
        while self._taken and self._taken[0][0] <= now_s:
            _, cost = self._taken.popleft()
            self._level = self._level - cost if self._taken else 0.0  # no rounding error remains


class SlidingWindowMaximum:
    """Highest number of moments in any half-open window of a given length. It stores one window of moments."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.maximum = 0
        self._moments_s: deque[float] = deque()

    def add(self, now_s: float) -> None:
        """Count one moment, not earlier than the last one."""
        self._moments_s.append(now_s)
        while self._moments_s[0] <= now_s - self.window_s:
            self._moments_s.popleft()
        self.maximum = max(self.maximum, len(self._moments_s))
