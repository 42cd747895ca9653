"""Waiting for what must come to hold."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float, every_s: float, what: str) -> float:
    """Return the moment, by the monotonic clock, at which `condition` held.

    Raises:
        TimeoutError: It did not within the time; the text names `what` was waited for.
    """
    deadline_s = time.monotonic() + within_s
    while not await condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {within_s:g} s in vain for {what}")
        await asyncio.sleep(every_s)
    return time.monotonic()
