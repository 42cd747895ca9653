"""An event loop whose clock jumps, so that tests of timers take no time and do not depend on a busy machine."""

import asyncio
import selectors
from collections.abc import Callable

from typing_extensions import override

TICK_S = 1e-6
"""Time that each turn of the loop takes. A timer can fire too early by a rounding error, and is then set again for the
rest. On a clock that stood still this would have no end."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Event loop that moves its clock to the next timer as soon as nothing else is left to do.

    It is for code that waits for timers of the loop only: the clock does not wait for a socket or a thread.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Jumping(self.advance))

    @override
    def time(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let time pass while nothing runs, as a blocked event loop does."""
        self._now_s += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the sockets that are ready now. If there is none, jump over the timeout; without one wait for them."""
        ready = super().select(timeout if timeout is None else 0)
        self._advance(TICK_S if ready else TICK_S + (timeout or 0))
        return ready
