"""Lease on the connections that receive an operator's overrides: each answer of the broker on one renews the lease."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress

import structlog

LOST_AFTER_S = 3.0
"""Duration of the lease, from the start of the last successful check; equal to that of the quota's lease."""

log = structlog.stdlib.get_logger()


class ControlLease:
    """Lease that each successful check of a connection renews. It is lost at first."""

    def __init__(self) -> None:
        self._found, self._lost = asyncio.Event(), asyncio.Event()
        self._lost.set()
        self._began_s = -math.inf
        self._end: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def is_lost(self) -> bool:
        """Whether an override could be missed: there was no successful check within 3 s, or none yet."""
        return self._lost.is_set()

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with True when the lease is lost, and with False when it is valid again."""
        self._listeners.append(listener)

    async def found(self) -> None:
        """Wait until the lease is valid."""
        await self._found.wait()

    async def lost_for(self, seconds: float) -> None:
        """Wait until the lease has been lost for `seconds` without a break."""
        while True:
            await self._lost.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._found.wait()
                continue
            return

    def extend(self, began_s: float) -> None:
        """Renew the lease until 3 s after `began_s`, the start of a check by the clock of the event loop.

        The start counts and not the answer, which may have waited in a socket while this process was suspended.
        """
        if began_s < self._began_s:
            return  # a slow answer on one connection, after a later check on the other
        self._began_s = began_s
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_at(began_s + LOST_AFTER_S, self._lose)
        if self.is_lost:
            self._lost.clear()
            self._found.set()
            log.info("control.found")
            self._notify()

    def _lose(self) -> None:
        log.warning("control.lost", silent_s=LOST_AFTER_S, action="sending nothing until overrides can be received")
        self._found.clear()
        self._lost.set()
        self._notify()

    def _notify(self) -> None:
        for listener in self._listeners:
            listener(self.is_lost)
