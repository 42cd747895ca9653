"""Deadlines of equal length for many things at once, with one timer for all of them."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Things that are due a fixed time after they were added, in the order in which they were added.

    Each has the same time, so the first that was added is the first that is late. Only its deadline needs a timer, and
    to add or discard another one is an operation on a dictionary.
    """

    def __init__(self, within_s: float, on_late: Callable[[T], None]) -> None:
        """Call `on_late` with each thing that is not discarded within `within_s`; it is discarded before the call."""
        self._within_s = within_s
        self._on_late = on_late
        self._late_at_s: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __iter__(self) -> Iterator[T]:
        """Iterate over the things as they are now, so that they may be discarded meanwhile."""
        return iter(tuple(self._late_at_s))

    def add(self, thing: T) -> None:
        """Start the time of a thing that is not among them."""
        late_at_s = self._loop.time() + self._within_s
        self._late_at_s[thing] = late_at_s
        if self._timer is None:
            self._timer = self._loop.call_at(late_at_s, self._check)

    def discard(self, thing: T) -> None:
        """Forget a thing, if it is among them. The timer continues: it finds the first of the others."""
        self._late_at_s.pop(thing, None)

    def take_latest(self) -> T | None:
        """Take out the thing that was added last."""
        return self._late_at_s.popitem()[0] if self._late_at_s else None

    def close(self) -> None:
        """Stop the timer."""
        self._late_at_s.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        now_s = self._loop.time()
        try:
            for thing in [thing for thing, late_at_s in self._late_at_s.items() if late_at_s <= now_s]:
                if self._late_at_s.pop(thing, None) is not None:  # else one that was late before has discarded it
                    self._on_late(thing)
        finally:
            # Only now, because `on_late` may add things, and the first of all decides.
            first_s = next(iter(self._late_at_s.values()), None)
            self._timer = None if first_s is None else self._loop.call_at(first_s, self._check)
