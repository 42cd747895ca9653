"""Blocking calls on daemon threads."""

import asyncio
import threading

import pytest

from eventflow.threads import SerialThread, call_on_loop, on_daemon_thread


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


async def test_calls_on_one_thread_are_made_in_their_order_and_return_or_raise() -> None:
    serial = SerialThread(name="serial", calls_max=10)
    made: list[int] = []

    def fail() -> None:
        raise OSError("the disk is gone")

    calls = [serial.call(lambda number=number: made.append(number)) for number in range(5)]
    failing = serial.call(fail)
    assert await serial.call(lambda: threading.current_thread().name) == "serial"
    assert made == list(range(5))
    await asyncio.gather(*calls)
    with pytest.raises(OSError, match="the disk is gone"):
        await failing
    serial.end()
    with pytest.raises(RuntimeError, match="closed"):
        serial.call(lambda: None)


async def test_a_thread_that_hangs_keeps_a_bounded_number_of_calls_and_makes_no_cancelled_one() -> None:
    serial = SerialThread(name="serial", calls_max=2)
    has_begun, may_end = threading.Event(), threading.Event()
    made: list[str] = []
    hanging = serial.call(lambda: (has_begun.set(), may_end.wait()))
    await asyncio.to_thread(has_begun.wait)
    cancelled = serial.call(lambda: made.append("cancelled"))
    waiting = serial.call(lambda: made.append("waiting"))
    with pytest.raises(RuntimeError, match="2 calls wait"):
        serial.call(lambda: made.append("refused"))
    cancelled.cancel()
    may_end.set()
    await asyncio.gather(hanging, waiting)
    assert made == ["waiting"]
    serial.end()


def test_a_call_back_to_a_closed_loop_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_on_loop(loop, lambda: pytest.fail("called on a closed loop"))
