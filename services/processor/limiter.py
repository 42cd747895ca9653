"""The target's quota as a bucket: attempts start no faster than it allows."""

from typing import Protocol

from aiolimiter import AsyncLimiter

LATENESS_S = 0.02
"""Timers fire late; a bucket of a single unit would waste that quota for ever, so this much may be caught up."""


class Limiter(Protocol):
    """Grants attempts, one waiter at a time."""

    async def acquire(self) -> None:
        """Wait until one more attempt may start."""


class Unlimited:
    """No quota: every attempt may start at once."""

    async def acquire(self) -> None:
        """Return at once."""


class Bucket:
    """A leaky bucket of aiolimiter that starts empty of quota, so that a restarted processor brings no new burst."""

    def __init__(self, *, rate_per_s: float, burst: float, cost: float) -> None:
        """Make a bucket that grants `rate_per_s / cost` attempts per second, and `burst / cost` after an idle time."""
        capacity = max(burst, cost, rate_per_s * LATENESS_S + cost)
        self._cost = cost
        self._bucket = AsyncLimiter(capacity, capacity / rate_per_s)
        self._is_spent = False

    async def acquire(self) -> None:
        """Wait until the bucket holds one attempt's cost, and spend it."""
        if not self._is_spent:
            await self._bucket.acquire(self._bucket.max_rate)
            self._is_spent = True
        await self._bucket.acquire(self._cost)


def limiter_for(*, rate_per_s: float | None, burst: float, cost: float) -> Limiter:
    """Make the limiter of a flow; `rate_per_s` None means unlimited."""
    if rate_per_s is None:
        return Unlimited()
    return Bucket(rate_per_s=rate_per_s, burst=burst, cost=cost)
