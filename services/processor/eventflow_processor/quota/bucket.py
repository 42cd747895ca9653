"""The bucket that a processor spends its share from: aiolimiter's, made anew whenever the share changes."""

import asyncio
from contextlib import suppress

from aiolimiter import AsyncLimiter

LATENESS_S = 0.01
"""Timers fire late; a bucket of a single attempt would waste that quota for ever, so this much may be caught up. What
is caught up comes on top of a second's quota, as does what the way to the target bunches: together at most 2 %."""

_HALVINGS = 40


def capacity_of(*, share_per_s: float, burst: float, cost: float) -> float:
    """Return the size of a bucket in units: its part of the burst, at least an attempt, and what lateness loses."""
    return max(burst, cost, share_per_s * LATENESS_S + cost)


class Bucket:
    """A leaky bucket whose rate and capacity can change; use it inside a running loop, with one waiter at a time.

    It starts empty of quota: a restart brings no new burst. aiolimiter freezes a limiter's rate, so a change makes a
    new one, which takes over what was left in the old one, and whoever waits there: no change hands out a fresh burst,
    and none loses the progress of a slow share.
    """

    def __init__(self, *, rate_per_s: float, capacity: float, cost: float) -> None:
        """Make a bucket that fills with `rate_per_s` units up to `capacity`, of which each attempt takes `cost`."""
        self._cost = cost
        self._waiting: asyncio.Timeout | None = None
        self._is_retired = False
        self._make(rate_per_s, capacity, left=0.0)

    def change(self, *, rate_per_s: float, capacity: float) -> None:
        """Fill at another rate from now on, and hold at most `capacity` units, which must suffice for an attempt."""
        if (rate_per_s, capacity) != (self._rate_per_s, self._limiter.max_rate):
            self._make(rate_per_s, capacity, left=min(self._left(), capacity))

    def keep_at_most(self, units: float) -> None:
        """Throw away what is left beyond `units`, such as because the target has no room for more."""
        if self._left() > units:
            self._make(self._rate_per_s, self._limiter.max_rate, left=units)

    def retire(self) -> None:
        """Grant nothing any more, and let the one that waits go: the flow has no quota now."""
        self._is_retired = True
        self._wake()

    async def acquire(self) -> bool:
        """Wait until the bucket holds one attempt's cost, and spend it; False if the bucket was retired instead."""
        while not self._is_retired:
            limiter = self._limiter
            try:
                async with asyncio.timeout(None) as self._waiting:
                    await limiter.acquire(self._cost)
            except TimeoutError:
                continue  # the bucket has been made anew
            finally:
                self._waiting = None
            if limiter is self._limiter:  # else this came out of the old one just when the new one took it over
                return True
        return False

    def _left(self) -> float:
        """Find out what is left. aiolimiter tells only whether an amount is, so this halves the interval."""
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
        with suppress(StopIteration):  # a step is all that acquiring from a fresh limiter takes
            self._limiter.acquire(capacity - left).send(None)
        self._wake()

    def _wake(self) -> None:
        # One that has expired already is on its way out of its wait, and refuses to expire once more: two changes can
        # come within one tick of the event loop.
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())
