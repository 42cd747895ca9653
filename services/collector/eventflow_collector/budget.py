"""Memory that requests and unresolved publishes take: admission control, so that it stays flat whatever comes in."""

from collections.abc import Callable
from functools import partial

EVENT_BYTES = 4096
"""Memory of an event beside its body, from its request to its confirm: attributes, message, frames, publication, and
the objects that wait for them. Measured on CPython 3.11 as resident memory while the broker confirms nothing: 2.4 to
3.6 KiB for an event of a batch, 4 KiB for one that came alone; its connection is not in it."""


class ByteBudget:
    """A count of bytes with an upper bound. Not for several threads."""

    def __init__(self, limit_bytes: int) -> None:
        """Start with nothing held."""
        self._limit_bytes = limit_bytes
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes held now."""
        return self._held_bytes

    def reserve(self, size_bytes: int, *, beside_bytes: int | None = None) -> bool:
        """Take `size_bytes` more, or take nothing and return False where the bound does not allow it.

        Args:
            beside_bytes: What the caller holds already. If nothing else is held, the bound is passed over.
        """
        if self._held_bytes + size_bytes > self._limit_bytes and self._held_bytes != beside_bytes:
            return False
        self._held_bytes += size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """Give bytes back."""
        self._held_bytes -= size_bytes


class Reservation:
    """What one request holds of the budget, given back once."""

    def __init__(self, budget: ByteBudget) -> None:
        """Hold nothing yet."""
        self._budget = budget
        self._size_bytes = 0

    def grow(self, size_bytes: int) -> bool:
        """Hold `size_bytes` more; False where the budget does not allow it."""
        if not self._budget.reserve(size_bytes):
            return False
        self._size_bytes += size_bytes
        return True

    def grow_for_events(self, size_bytes: int) -> bool:
        """Hold `size_bytes` more for what has been read; False where the budget does not allow it.

        A request that is alone is allowed any size: its events may take more than the whole budget, in which case it
        would be refused for ever. How many they are at most is another limit.
        """
        if not self._budget.reserve(size_bytes, beside_bytes=self._size_bytes):
            return False
        self._size_bytes += size_bytes
        return True

    def release(self) -> None:
        """Give all of it back. Doing so again changes nothing."""
        self._budget.release(self._size_bytes)
        self._size_bytes = 0

    def hand_over(self, size_bytes: int) -> Callable[[], None]:
        """Pass `size_bytes` of what is held on to whoever calls the returned function in the end, once."""
        self._size_bytes -= size_bytes
        return partial(self._budget.release, size_bytes)
