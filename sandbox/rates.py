"""A limit and how closely it was met. Pure: the caller tells the time."""

from collections import deque


class LeakyBucket:
    """As Shopify's: each request adds its cost, the bucket leaks at a constant rate, what does not fit is refused.

    Args:
        rate_per_s: Units that leak per second, above 0.
        capacity: Units that it holds.
    """

    def __init__(self, *, rate_per_s: float, capacity: float) -> None:
        self._rate_per_s = rate_per_s
        self._capacity = capacity
        self._level = 0.0
        self._seen_s: float | None = None

    def take(self, now_s: float, *, cost: float = 1.0) -> float:
        """Add one request if it fits and return 0; else return after how many seconds it would fit."""
        self._leak(now_s)
        excess = self._level + cost - self._capacity
        if excess > 0:
            return excess / self._rate_per_s
        self._level += cost
        return 0.0

    def level(self, now_s: float) -> float:
        """Return how many units are in it."""
        self._leak(now_s)
        return self._level

    def changed(self, now_s: float, *, rate_per_s: float, capacity: float) -> "LeakyBucket":
        """Return one with another limit and what is in this one."""
        bucket = LeakyBucket(rate_per_s=rate_per_s, capacity=capacity)
        bucket._level = min(self.level(now_s), capacity)
        bucket._seen_s = now_s
        return bucket

    def _leak(self, now_s: float) -> None:
        if self._seen_s is not None:
            self._level = max(0.0, self._level - (now_s - self._seen_s) * self._rate_per_s)
        self._seen_s = now_s


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
