"""How many bytes of bodies this process holds: admission control, so that memory stays flat whatever comes in."""

from collections.abc import Callable
from functools import partial


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

    def reserve(self, size_bytes: int) -> bool:
        """Take `size_bytes` more, or take nothing and return False where the bound does not allow it."""
        if self._held_bytes + size_bytes > self._limit_bytes:
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

    def release(self) -> None:
        """Give all of it back. Doing so again changes nothing."""
        self._budget.release(self._size_bytes)
        self._size_bytes = 0

    def hand_over(self, size_bytes: int) -> Callable[[], None]:
        """Pass `size_bytes` of what is held on to whoever calls the returned function in the end, once."""
        self._size_bytes -= size_bytes
        return partial(self._budget.release, size_bytes)
