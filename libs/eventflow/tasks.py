"""Waiting for tasks, ending them, and the clock of leases."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

CANCEL_AGAIN_S = 5.0
_CLOCK_OF_LEASES: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux stops CLOCK_MONOTONIC, which `time.monotonic` and asyncio read, during a suspend; other systems have no
CLOCK_BOOTTIME, and macOS's CLOCK_MONOTONIC goes on."""


def lease_clock() -> float:
    """Return seconds of a clock that goes on while the machine is suspended, so that no lease outlasts a suspend."""
    return time.clock_gettime(_CLOCK_OF_LEASES)


async def first_of(*services: Coroutine[Any, Any, None]) -> None:
    """Run several until the first ends, cancel the others, and return or raise what it ended with."""
    tasks = [asyncio.create_task(service) for service in services]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*tasks)
    done.pop().result()


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until each has ended, whatever it ended with.

    It asks again every few seconds: a library can swallow a cancellation that comes together with what it waited for.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
