"""Deadlines: each thing is late at its own time, and one timer serves all of them."""

import asyncio

import pytest

from eventflow_processor.target.lean.deadlines import Deadlines
from tests.support.wait import eventually

pytestmark = pytest.mark.virtual_time


async def test_things_are_late_in_the_order_in_which_they_were_added() -> None:
    late: list[int] = []
    loop = asyncio.get_running_loop()
    late_at_s: list[float] = []

    def on_late(thing: int) -> None:
        late.append(thing)
        late_at_s.append(loop.time())

    deadlines: Deadlines[int] = Deadlines(0.2, on_late)
    added_s = []
    for thing in range(4):
        deadlines.add(thing)
        added_s.append(loop.time())
        await asyncio.sleep(0.03)
    deadlines.discard(2)
    deadlines.discard(7)
    assert list(deadlines) == [0, 1, 3]
    await eventually(lambda: len(late) == 3, what="three late things")
    assert late == [0, 1, 3]
    assert all(at_s - added_s[thing] >= 0.19 for thing, at_s in zip(late, late_at_s, strict=True))
    deadlines.close()


async def test_a_late_thing_may_add_and_discard_others() -> None:
    late: list[str] = []

    def on_late(thing: str) -> None:
        late.append(thing)
        if thing == "first":
            deadlines.discard("second")
            deadlines.add("third")

    deadlines: Deadlines[str] = Deadlines(0.05, on_late)
    deadlines.add("first")
    deadlines.add("second")
    await eventually(lambda: late == ["first", "third"], what="the third")
    assert not list(deadlines)
    deadlines.close()


async def test_an_error_of_one_does_not_stop_the_time_of_the_others() -> None:
    late: list[str] = []
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def on_late(thing: str) -> None:
        late.append(thing)
        if thing == "first":
            raise ArithmeticError("a bug")

    deadlines: Deadlines[str] = Deadlines(0.05, on_late)
    deadlines.add("first")
    deadlines.add("second")
    await eventually(lambda: late == ["first", "second"], what="the second")
    assert len(errors) == 1
    deadlines.close()


async def test_the_thing_that_was_added_last_is_taken_first() -> None:
    deadlines: Deadlines[str] = Deadlines(60, lambda _: None)
    assert deadlines.take_latest() is None
    deadlines.add("a")
    deadlines.add("b")
    assert [deadlines.take_latest(), deadlines.take_latest(), deadlines.take_latest()] == ["b", "a", None]
    deadlines.close()
