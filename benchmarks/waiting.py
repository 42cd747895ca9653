"""Waiting for a condition."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float, every_s: float, what: str) -> float:
    """Wait until `condition` holds, and return the time by the monotonic clock.

    Raises:
        TimeoutError: The condition did not hold within `within_s`; the text contains `what`.
    """
    deadline_s = time.monotonic() + within_s
    while not await condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"timeout after {within_s:g} s while waiting for {what}")
        await asyncio.sleep(every_s)
    return time.monotonic()
