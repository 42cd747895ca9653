"""Waiting for the first of several tasks, racing attempts, and ending tasks."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from eventflow import tasks
from eventflow.tasks import cancel_and_wait, cancel_within, finished, first_of, race


async def never(_: Callable[[], None]) -> str:
    await asyncio.Event().wait()
    return "never"


async def discard_nothing(result: str) -> None:
    pytest.fail(f"discarded {result}")


async def test_an_attempt_that_is_silent_does_not_keep_the_next_from_succeeding() -> None:
    async def second(_: Callable[[], None]) -> str:
        return "second"

    assert await race([never, second], stagger_s=0.01, discard=discard_nothing) == "second"


async def test_an_attempt_that_fails_or_allows_it_lets_the_next_begin_at_once() -> None:
    async def failing(_: Callable[[], None]) -> str:
        raise OSError("refused")

    async def yielding(next_may_begin: Callable[[], None]) -> str:
        next_may_begin()
        return await never(next_may_begin)

    async def last(_: Callable[[], None]) -> str:
        return "last"

    async with asyncio.timeout(10):
        assert await race([failing, yielding, last], stagger_s=3600, discard=discard_nothing) == "last"


async def test_a_race_that_is_lost_raises_the_error_of_the_last_attempt() -> None:
    async def fail(reason: str, _: Callable[[], None]) -> str:
        raise OSError(reason)

    with pytest.raises(OSError, match="second"):
        await race([partial(fail, "first"), partial(fail, "second")], stagger_s=3600, discard=discard_nothing)


async def test_a_second_success_is_discarded() -> None:
    discarded: list[str] = []
    has_begun = asyncio.Event()

    async def first(next_may_begin: Callable[[], None]) -> str:
        next_may_begin()
        await has_begun.wait()
        return "first"

    async def second(_: Callable[[], None]) -> str:
        has_begun.set()
        return "second"  # in the same tick in which the first goes on, or before it

    async def discard(result: str) -> None:
        discarded.append(result)

    returned = await race([first, second], stagger_s=3600, discard=discard)
    assert sorted([returned, *discarded]) == ["first", "second"]


@pytest.mark.parametrize("steps", range(12))
async def test_a_result_is_returned_or_discarded_at_whatever_step_its_caller_is_cancelled(steps: int) -> None:
    """Otherwise a connection to the broker would stay open if its caller is cancelled as it is made."""
    made, discarded = [], []

    async def attempt(name: str, next_may_begin: Callable[[], None]) -> str:
        next_may_begin()
        await asyncio.sleep(0)
        made.append(name)
        return name

    async def discard(result: str) -> None:
        discarded.append(result)

    racing = asyncio.create_task(
        race([partial(attempt, "first"), partial(attempt, "second")], stagger_s=3600, discard=discard)
    )
    for _ in range(steps):
        await asyncio.sleep(0)
    racing.cancel()
    await asyncio.wait({racing})
    returned = [] if racing.cancelled() else [racing.result()]
    assert sorted({*returned, *discarded}) == sorted(made)


async def test_the_first_service_that_ends_ends_the_others_and_gives_its_error() -> None:
    ended = asyncio.Event()

    async def serving() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("it broke")

    with pytest.raises(ValueError, match="it broke"):
        await first_of(serving(), failing())
    assert ended.is_set()


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.01)
    swallowed = 0

    async def swallowing() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(swallowing())
    await asyncio.sleep(0)
    await cancel_and_wait(task)
    assert task.cancelled()
    assert swallowed == 2


async def test_work_that_must_finish_does_so_although_its_caller_is_cancelled() -> None:
    done: list[str] = []
    begun, going_on = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        await going_on.wait()
        done.append("work")
        return "result"

    caller = asyncio.create_task(finished(work()))
    await begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    going_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == ["work"]
    assert await finished(work()) == "result"


async def test_an_error_of_work_that_must_finish_is_raised() -> None:
    async def work() -> None:
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        await finished(work())


async def test_a_task_that_catches_each_cancellation_is_named_after_a_limited_wait() -> None:
    going_on = asyncio.Event()

    async def endless() -> None:
        while not going_on.is_set():
            with suppress(asyncio.CancelledError):
                await going_on.wait()

    ending, stubborn = asyncio.create_task(asyncio.Event().wait()), asyncio.create_task(endless())
    await asyncio.sleep(0)
    assert await cancel_within([ending, stubborn], 0.05) == {stubborn}
    assert ending.cancelled()
    going_on.set()
    await stubborn
    assert not await cancel_within([], 0.05)
