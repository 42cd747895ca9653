"""Waiting for the first of several tasks, racing attempts, and ending tasks."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, TypeVar

CANCEL_AGAIN_S = 5.0
"""Time after which a task that has not ended is cancelled again."""

T = TypeVar("T")

Attempt = Callable[[Callable[[], None]], Coroutine[Any, Any, T]]
"""Makes an attempt. It may call its argument to let the next attempt begin at once."""


async def first_of(*services: Coroutine[Any, Any, None]) -> None:
    """Run several services until the first ends; cancel the others, and raise its error if it ended with one."""
    tasks = [asyncio.create_task(service) for service in services]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*tasks)
    done.pop().result()


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until each has ended. Their results and errors are dropped.

    A task that does not end is cancelled again every few seconds, because a library can swallow a cancellation that
    arrives together with the awaited result.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def cancel_within(tasks: Collection[asyncio.Task[Any]], timeout_s: float) -> Collection[asyncio.Task[Any]]:
    """Cancel tasks once, and wait until each has ended, for `timeout_s` in all; return those that go on.

    Code of a user can catch each cancellation, so a wait for its end needs a limit.
    """
    for task in tasks:
        task.cancel()
    if not tasks:
        return ()
    _, pending = await asyncio.wait(tasks, timeout=timeout_s)
    return pending


async def finished(work: Coroutine[Any, Any, T], *, within_s: float | None = None) -> T:
    """Run work to its end, also if the caller is cancelled meanwhile; then raise the cancellation.

    Args:
        work: It must end by itself soon.
        within_s: Time after a cancellation of the caller at which the work is cancelled too; None for never.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=within_s)
        await cancel_and_wait(task)
        raise


async def race(attempts: Sequence[Attempt[T]], *, stagger_s: float, discard: Callable[[T], Awaitable[object]]) -> T:
    """Make attempts that begin one after the other and run side by side; return the result of the first success.

    Args:
        attempts: The attempts, in the order of preference. Each begins after `stagger_s`, or as soon as the one before
            has failed or allows it.
        stagger_s: Time between the beginnings of two attempts.
        discard: Called with each result that is not returned: two attempts can succeed at the same moment, and the
            caller can be cancelled at that moment. It may be called twice with one result.

    Raises:
        Exception: All attempts have failed; the error is that of the last one.
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
        await _end([task for task in tasks if task is not winner], discard)
    except BaseException:
        await _end(tasks, discard)  # that of the winner too: its receiver was cancelled meanwhile
        raise
    return (winner or tasks[-1]).result()


async def _end(tasks: Sequence["asyncio.Task[T]"], discard: Callable[[T], Awaitable[object]]) -> None:
    await cancel_and_wait(*tasks)
    for task in filter(_has_succeeded, tasks):
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
