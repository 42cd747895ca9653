"""Waiting for tasks, ending them, and the clock of leases."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

CANCEL_AGAIN_S = 5.0
_CLOCK_OF_LEASES: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux stops CLOCK_MONOTONIC, which `time.monotonic` and asyncio read, during a suspend; other systems have no
CLOCK_BOOTTIME, and macOS's CLOCK_MONOTONIC goes on."""


T = TypeVar("T")

Attempt = Callable[[Callable[[], None]], Coroutine[Any, Any, T]]
"""Makes an attempt, and may call back to let the next begin at once."""


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


async def race(attempts: Sequence[Attempt[T]], *, stagger_s: float, discard: Callable[[T], Awaitable[object]]) -> T:
    """Return the first success.

    Args:
        attempts: In the order of preference. Each begins once the one before has failed, lets it, or has gone on for
            `stagger_s`.
        discard: Undoes a success that came second.

    Raises:
        Exception: All have failed; the error is the last attempt's.
    """
    turns = [asyncio.Event() for _ in range(len(attempts) + 1)]
    turns[0].set()
    tasks = [
        asyncio.create_task(_in_turn(attempt, turns[number], turns[number + 1], stagger_s))
        for number, attempt in enumerate(attempts)
    ]
    winner = None
    try:
        pending = set(tasks)
        while pending and winner is None:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            winner = next(filter(_has_succeeded, tasks), None)
        return (winner or tasks[-1]).result()
    finally:
        await cancel_and_wait(*tasks)
        for task in tasks:
            if task is not winner and _has_succeeded(task):
                await discard(task.result())


async def _in_turn(attempt: Attempt[T], turn: asyncio.Event, next_turn: asyncio.Event, stagger_s: float) -> T:
    await turn.wait()
    timer = asyncio.get_running_loop().call_later(stagger_s, next_turn.set)
    try:
        return await attempt(next_turn.set)
    except BaseException:
        next_turn.set()
        raise
    finally:
        timer.cancel()


def _has_succeeded(task: "asyncio.Task[Any]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
