"""Waiting for what must come to hold."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

POLL_S = 0.02


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = 20.0, what: str | Callable[[], str]
) -> None:
    """Return once `condition` holds; fail with `what` was waited for when it does not within the time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        held = condition()
        if inspect.isawaitable(held):
            held = await held
        if held:
            return
        if asyncio.get_running_loop().time() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f"waited {within_s:g} s in vain: {text}")
        await asyncio.sleep(POLL_S)
