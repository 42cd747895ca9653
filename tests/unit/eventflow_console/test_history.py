"""Queries to the history have an answer in time."""

import asyncio
from typing import Any

import pytest

from eventflow.errors import HistoryLateError, HistorySchemaError, HistoryUnavailableError
from eventflow_console.history import PATIENCE_S, QUERIES_MAX, History
from eventflow_console.metrics import ConsoleMetrics

STORE: Any = object()
pytestmark = pytest.mark.virtual_time


def of_store() -> History:
    return History(STORE, ConsoleMetrics())


async def value_of(_: object) -> int:
    return 7


async def hang(_: object) -> int:
    return await asyncio.Future()


async def test_a_value_is_answered():
    answer = await of_store().ask("test", value_of)
    assert (answer.value, answer.problem) == (7, None)


@pytest.mark.parametrize(
    ("error", "lack", "passes"),
    [
        (HistoryLateError("late"), "late", True),
        (HistoryUnavailableError("no connection"), "away", False),
        (HistorySchemaError("run `eventflow history migrate`"), "schema", False),
    ],
)
async def test_an_error_is_a_problem_with_its_reason(error: Exception, lack: str, passes: bool):
    async def fail(_: object) -> int:
        raise error

    answer = await of_store().ask("test", fail)
    assert answer.value is None
    assert answer.problem is not None
    assert (answer.problem.lack, answer.problem.passes) == (lack, passes)


async def test_without_a_store_nothing_is_asked():
    answer = await History(None, ConsoleMetrics()).ask("test", hang)
    assert answer.problem is not None
    assert answer.problem.lack == "off"


async def test_a_store_that_hangs_is_given_up_in_time():
    began_s = asyncio.get_running_loop().time()
    answer = await of_store().ask("test", hang)
    assert answer.problem is not None
    assert answer.problem.lack == "late"
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(PATIENCE_S, abs=0.1)


async def test_queries_at_the_same_time_are_bounded_and_those_that_wait_too_long_are_told_apart():
    history = of_store()
    running, most = 0, 0

    async def count(_: object) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await asyncio.Future()
        finally:
            running -= 1

    answers = await asyncio.gather(*(history.ask("test", count) for _ in range(QUERIES_MAX + 3)))
    assert most == QUERIES_MAX
    lacks = [answer.problem.lack for answer in answers if answer.problem is not None]
    assert sorted(lacks) == ["busy"] * 3 + ["late"] * QUERIES_MAX
    assert (await history.ask("test", value_of)).value == 7


async def test_a_client_that_leaves_gives_its_place_back():
    history = of_store()
    waiting = [asyncio.create_task(history.ask("test", hang)) for _ in range(QUERIES_MAX)]
    await asyncio.sleep(0.1)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert (await history.ask("test", value_of)).value == 7
