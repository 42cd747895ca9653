"""Leaky bucket from which a processor spends its share: aiolimiter's, replaced when the share changes."""

import asyncio
from contextlib import suppress

from aiolimiter import AsyncLimiter

LATENESS_S = 0.01
"""Lateness that may be caught up: timers fire late, and a bucket for a single attempt would lose this time. So one
second can have more attempts than the quota; together with the jitter of the network, at most 2 % more."""

_HALVINGS = 40
"""They narrow an interval to less than the precision of a float of its size."""


def capacity_of(*, share_per_s: float, burst: float, cost: float) -> float:
    """Return the size of a bucket in units: its part of the burst, but at least one attempt and `LATENESS_S`."""
    return max(burst, cost, share_per_s * LATENESS_S + cost)


class Bucket:
    """Leaky bucket with a rate and a capacity that can change. Use it inside a running loop, with one waiter at a time.

    It starts without units, so a restart causes no new burst. The rate of an aiolimiter is fixed, so a change creates a
    new limiter, which takes over the units and the waiter of the old one. So no change grants a fresh burst, and none
    loses the units that a slow share has collected.
    """

    def __init__(self, *, rate_per_s: float, capacity: float, cost: float) -> None:
        """Fill with `rate_per_s` units up to `capacity`, of which each attempt takes `cost`."""
        self._cost = cost
        self._waiting: asyncio.Timeout | None = None
        self._is_retired = False
        self._make(rate_per_s, capacity, left=0.0)

    def change(self, *, rate_per_s: float, capacity: float) -> None:
        """Fill at another rate from now on, and hold at most `capacity` units, which must be enough for an attempt."""
        if (rate_per_s, capacity) != (self._rate_per_s, self._limiter.max_rate):
            self._make(rate_per_s, capacity, left=min(self._left(), capacity))

    def keep_at_most(self, units: float) -> None:
        """Discard all but `units`, for example if the target has no room for more."""
        if self._left() > units:
            self._make(self._rate_per_s, self._limiter.max_rate, left=units)

    def retire(self) -> None:
        """Grant nothing from now on, and release the waiter: the flow is unlimited now."""
        self._is_retired = True
        self._wake()

    def acquire_at_once(self) -> bool:
        """Spend one attempt's cost if the bucket holds it; return whether it does. Call this only if no one waits."""
        if not self._limiter.has_capacity(self._cost):
            return False
        self._spend(self._cost)
        return True

    async def acquire(self) -> bool:
        """Wait until the bucket holds one attempt's cost, and spend it; False if the bucket was retired instead."""
        while not self._is_retired:
            limiter = self._limiter
            try:
                async with asyncio.timeout(None) as self._waiting:
                    await limiter.acquire(self._cost)
            except TimeoutError:
                continue  # woken for a new limiter, or to retire
            finally:
                self._waiting = None
            # The grant and a change can come in the same tick of the event loop. In this case the new limiter has taken
            # over the units that the old one grants here, and returning True would spend them twice.
            if limiter is self._limiter:
                return True
        return False

    def _left(self) -> float:
        """Return the units that are left, by bisection: aiolimiter shows only whether it has capacity for an amount."""
        low, high = 0.0, self._limiter.max_rate
        if self._limiter.has_capacity(high):
            return high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._limiter.has_capacity(middle) else (low, middle)
        return low

    def _make(self, rate_per_s: float, capacity: float, *, left: float) -> None:
        self._rate_per_s = rate_per_s
        self._limiter = AsyncLimiter(capacity, capacity / rate_per_s)
        self._spend(capacity - left)
        self._wake()

    def _spend(self, units: float) -> None:
        """Spend units that the limiter has: then its coroutine ends at the first step, and needs no task."""
        with suppress(StopIteration):
            self._limiter.acquire(units).send(None)

    def _wake(self) -> None:
        # Two changes can come within one tick of the event loop. After the first, the waiter's timeout has expired, and
        # rescheduling it again raises RuntimeError.
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())
