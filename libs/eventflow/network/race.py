"""Attempts that begin one after the other and go on side by side, until the first succeeds."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from eventflow.tasks import cancel_and_wait

T = TypeVar("T")

Attempt = Callable[[Callable[[], None]], Coroutine[Any, Any, T]]
"""Makes an attempt, and may call back to let the next begin at once."""


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
