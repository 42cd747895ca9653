"""The past of a flow by minute."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest

from eventflow.errors import HistoryUnavailableError
from eventflow.event import utc_now
from eventflow.history.records import FlowMinute
from eventflow.tasks import cancel_and_wait
from eventflow_console.flow_minutes import KEPT, FlowMinutes
from eventflow_console.intake import Intake
from eventflow_console.present import BrokerState, FlowState, Present

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Store:
    """Takes minutes, or is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.minutes: dict[tuple[str, datetime], FlowMinute] = {}
        self.calls = 0

    async def put_flow_minutes(self, minutes: Collection[FlowMinute]) -> None:
        self.calls += 1
        if self.is_away:
            raise HistoryUnavailableError("away")
        self.minutes |= {(minute.flow, minute.at): minute for minute in minutes}


def look(minutes: FlowMinutes, second: float, accepted: int | None, **state: int) -> None:
    at = NOON + timedelta(seconds=second)
    present = Present(at=at, broker=BrokerState(is_up=True, since=utc_now()), flows={"f": FlowState(flow="f", **state)})
    minutes.on_look({"f": Intake(per_s={}, accepted=accepted)}, present)


def known(minutes: FlowMinutes) -> list[tuple[int, int | None, int | None]]:
    recent = minutes.recent("f", since=NOON - HOUR, until=NOON + 2 * HOUR)
    return [((minute.at - NOON) // timedelta(minutes=1), minute.accepted, minute.waiting) for minute in recent]


def test_a_minute_has_the_sum_of_its_looks_and_the_backlog_at_its_end() -> None:
    minutes = FlowMinutes(["f"], None)
    for second in range(121):
        look(minutes, second, accepted=2, waiting=second)
    assert known(minutes) == [(0, None, 59), (1, 120, 119)], "the first is not whole: the console has just started"


def test_events_between_two_looks_are_shared_among_their_minutes() -> None:
    minutes = FlowMinutes(["f"], None)
    look(minutes, 0.0, accepted=0)
    look(minutes, 50.0, accepted=50, waiting=1)
    look(minutes, 80.0, accepted=30, waiting=2)
    look(minutes, 125.0, accepted=45, waiting=3)
    look(minutes, 190.0, accepted=0)
    assert known(minutes)[1:] == [(1, 60, 2), (2, 5, 3)]


def test_a_minute_without_a_look_has_no_backlog() -> None:
    minutes = FlowMinutes(["f"], None)
    look(minutes, 0.0, accepted=0)
    look(minutes, 240.0, accepted=240, waiting=9)
    assert known(minutes)[1:] == [(1, 60, None), (2, 60, None), (3, 60, None)]


def test_a_minute_without_any_count_is_unknown_and_one_late_answer_is_not() -> None:
    minutes = FlowMinutes(["f"], None)
    for second in range(0, 181, 10):
        is_silent = second < 110 or second == 150
        look(minutes, second, accepted=None if is_silent else 10)
    assert [accepted for _, accepted, _ in known(minutes)] == [None, 20, 50]


def test_a_clock_that_is_set_back_begins_anew() -> None:
    minutes = FlowMinutes(["f"], None)
    for second in (*range(600, 700, 10), *range(0, 190, 10)):
        look(minutes, second, accepted=1)
    assert [minute for minute, _, _ in known(minutes)] == [10, 0, 1, 2]


def test_the_memory_keeps_an_hour() -> None:
    minutes = FlowMinutes(["f"], None)
    for second in range(0, 90 * 60, 30):
        look(minutes, second, accepted=1)
    assert len(known(minutes)) == KEPT


@pytest.mark.virtual_time
async def test_minutes_that_could_not_be_written_are_written_later() -> None:
    store = Store()
    minutes = FlowMinutes(["f"], store)
    running = asyncio.create_task(minutes.run())
    store.is_away = True
    for second in range(0, 300, 15):
        look(minutes, second, accepted=1)
        await asyncio.sleep(0)
    await asyncio.sleep(1)
    assert store.calls >= 1
    assert not store.minutes
    store.is_away = False
    look(minutes, 300, accepted=1)
    await asyncio.sleep(1)
    assert len(store.minutes) == 5
    await cancel_and_wait(running)
