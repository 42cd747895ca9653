"""Waiting for what must come to hold."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from tests.support.running_time import running_s

POLL_MIN_S, POLL_MAX_S = 0.02, 0.1
POLL_SHARE = 0.2
"""Pause before the next look, as a share of the time waited so far: a long wait takes little processor time, and its
end is seen at most a tenth of a second too late."""


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = 20.0, what: str | Callable[[], str]
) -> None:
    """Return once `condition` holds; fail with `what` was waited for when it does not within the time.

    Time in which the machine stands still does not count.
    """
    began_s = running_s()
    while True:
        held = condition()
        if inspect.isawaitable(held):
            held = await held
        if held:
            return
        waited_s = running_s() - began_s
        if waited_s > within_s:
            text = what() if callable(what) else what
            raise AssertionError(f"waited {within_s:g} s in vain: {text}")
        await asyncio.sleep(min(max(POLL_MIN_S, waited_s * POLL_SHARE), POLL_MAX_S))
