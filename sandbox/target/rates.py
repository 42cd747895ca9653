"""A limit and how closely it was met. Pure: the caller tells the time."""

from collections import deque
from itertools import accumulate
from typing import Protocol, Self

_STRICT_WINDOW_S = 1.0


class Limit(Protocol):
    """What a target lets through, in units; each request costs some."""

    def take(self, now_s: float, *, cost: float = 1.0) -> float:
        """Let one request through and return 0; else return after how many seconds it would be let through."""

    def changed(self, now_s: float, *, rate_per_s: float, burst: float) -> Self:
        """Return another limit of this kind that remembers what this one has let through."""


class LeakyBucket:
    """As Shopify's: each request adds its cost, the bucket leaks at a constant rate, what does not fit is refused.

    Args:
        rate_per_s: Units that leak per second, above 0.
        burst: Units that it holds.
    """

    def __init__(self, *, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._level = 0.0
        self._seen_s: float | None = None

    def take(self, now_s: float, *, cost: float = 1.0) -> float:
        """Add one request if it fits and return 0; else return after how many seconds it would fit."""
        self._leak(now_s)
        excess = self._level + cost - self._burst
        if excess > 0:
            return excess / self._rate_per_s
        self._level += cost
        return 0.0

    def level(self, now_s: float) -> float:
        """Return how many units are in it."""
        self._leak(now_s)
        return self._level

    def changed(self, now_s: float, *, rate_per_s: float, burst: float) -> "LeakyBucket":
        """Return one with another limit and what is in this one."""
        bucket = LeakyBucket(rate_per_s=rate_per_s, burst=burst)
        bucket._level = min(self.level(now_s), burst)
        bucket._seen_s = now_s
        return bucket

    def _leak(self, now_s: float) -> None:
        if self._seen_s is not None:
            self._level = max(0.0, self._level - (now_s - self._seen_s) * self._rate_per_s)
        self._seen_s = now_s


class StrictWindow:
    """Lets at most `rate_per_s + burst` units through in any window of 1 s. What it refuses does not count.

    Args:
        rate_per_s: Units per second, above 0.
        burst: Units beyond them in one window.
    """

    def __init__(self, *, rate_per_s: float, burst: float) -> None:
        self._limit = rate_per_s + burst
        self._taken: deque[tuple[float, float]] = deque()
        """When each request that is still in the window leaves it, and its cost."""
        self._level = 0.0

    def take(self, now_s: float, *, cost: float = 1.0) -> float:
        """Let one request through and return 0; else return after how many seconds it would be let through."""
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
        """Return one with another limit that counts what this one has let through."""
        self._forget(now_s)
        window = StrictWindow(rate_per_s=rate_per_s, burst=burst)
        window._taken, window._level = self._taken.copy(), self._level
        return window

    def _forget(self, now_s: float) -> None:
        while self._taken and self._taken[0][0] <= now_s:
            _, cost = self._taken.popleft()
            self._level = self._level - cost if self._taken else 0.0  # no rounding is left over


class SlidingWindowMaximum:
    """The highest number of moments in any half-open window of a given length. Holds one window of moments."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.maximum = 0
        self._moments_s: deque[float] = deque()

    def add(self, now_s: float) -> None:
        """Count one moment; moments come in order."""
        self._moments_s.append(now_s)
        while self._moments_s[0] <= now_s - self.window_s:
            self._moments_s.popleft()
        self.maximum = max(self.maximum, len(self._moments_s))
