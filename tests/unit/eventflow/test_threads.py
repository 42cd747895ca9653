"""Blocking calls on daemon threads."""

import asyncio
import threading

import pytest

from eventflow.threads import call_on_loop, on_daemon_thread


async def test_a_call_on_a_thread_returns_or_raises_through_its_future() -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    assert await on_daemon_thread(lambda: threading.current_thread().name, name="work") == "work"
    with pytest.raises(OSError, match="the disk is gone"):
        await on_daemon_thread(fail, name="work")


async def test_a_call_whose_future_was_cancelled_ends_unnoticed() -> None:
    may_end = threading.Event()
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    future = on_daemon_thread(may_end.wait, name="work")
    future.cancel()
    may_end.set()
    await on_daemon_thread(lambda: None, name="another")
    while any(thread.name == "work" for thread in threading.enumerate()):  # noqa: ASYNC110 - a thread sets no event
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    assert future.cancelled()
    assert not errors


def test_a_call_back_to_a_closed_loop_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_on_loop(loop, lambda: pytest.fail("called on a closed loop"))
