"""The user's six assumptions, each as a promise that is kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.e2e.conftest import Way
from tests.support.target import Answer, Receipt
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Way]]


def busiest_second(times_s: list[float]) -> int:
    """Count the requests of the fullest sliding window of one second."""
    return max(sum(1 for at_s in times_s if start_s <= at_s < start_s + 1) for start_s in times_s)


@pytest.mark.timed
async def test_assumption_1_the_targets_limit_cannot_be_raised_so_it_is_never_exceeded(way: Start) -> None:
    running = await way(TARGET__RATE_PER_S="30")
    await asyncio.gather(*(running.send(str(number)) for number in range(120)))
    await eventually(lambda: len(running.target.receipts) == 120, what="120 events")
    assert busiest_second([receipt.at_s for receipt in running.target.receipts]) <= 32


@pytest.mark.timed
async def test_assumption_2_lag_is_acceptable_so_a_slow_target_never_slows_the_source(way: Start) -> None:
    running = await way(TARGET__RATE_PER_S="10")
    began = time.monotonic()
    await asyncio.gather(*(running.send(str(number)) for number in range(200)))
    taken_s = time.monotonic() - began
    assert taken_s < 200 / 10 / 2, "accepting must not wait for delivering"
    await eventually(lambda: len(running.target.receipts) >= 30, what="the backlog shrinking")


@pytest.mark.timed
async def test_assumption_3_peaks_above_the_rate_drain_when_the_average_is_below_it(way: Start) -> None:
    running = await way(TARGET__RATE_PER_S="50")
    for peak in range(3):
        await asyncio.gather(*(running.send(f"{peak}-{number}") for number in range(75)))
        await eventually(lambda: len(running.target.ids) >= 75 * (peak + 1), what="the peak drained")  # noqa: B023


async def test_assumption_4_the_target_is_idempotent_so_a_duplicate_carries_the_same_key(way: Start) -> None:
    running = await way()
    killed = asyncio.Event()

    async def kill_before_the_ack(_: Receipt) -> Answer:
        if not killed.is_set():
            killed.set()
            running.processor.process.kill()
        return 200

    running.target.answer = kill_before_the_ack
    await running.send("twice")
    await killed.wait()
    running.processor.process.start()
    await eventually(lambda: len(running.target.receipts) == 2, what="the event again")
    first, second = running.target.receipts
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == "twice"
    assert first.body == second.body


@pytest.mark.timed
async def test_assumption_5_events_are_out_of_order_by_no_more_than_their_retry_delays(way: Start) -> None:
    running = await way(TARGET__RATE_PER_S="50")
    running.target.answer = lambda receipt: 503 if receipt.attempt == 1 and int(receipt.id) % 10 == 0 else 200
    for number in range(200):
        await running.send(str(number))
    await eventually(lambda: len(running.target.receipts) == 220, what="all events, the failed ones twice")
    delivered = {receipt.id: receipt.at_s for receipt in running.target.receipts}
    in_order = [delivered[str(number)] for number in range(200)]
    latest_s = [max(in_order[: number + 1]) for number in range(200)]
    reorder_s = max(latest - at for latest, at in zip(latest_s, in_order, strict=True))
    assert reorder_s < 5, "far within the user's 60 s, whatever waits in the backlog"


@pytest.mark.timed
async def test_assumption_6_a_target_that_takes_too_long_or_answers_an_error_gets_the_event_again(way: Start) -> None:
    running = await way(TARGET__TIMEOUT_S="3", TARGET__MAX_ATTEMPTS="20")
    answers: dict[str, int] = {"400": 400, "404": 404, "302": 302, "500": 500, "503": 503}

    async def answer(receipt: Receipt) -> Answer:
        if receipt.attempt > 1:
            return 200
        if receipt.id == "late":
            await asyncio.sleep(8)
        return answers.get(receipt.id, 200)

    running.target.answer = answer
    for event_id in ("late", *answers):
        await running.send(event_id)
    await eventually(
        lambda: all([receipt.attempt for receipt in running.target.of(i)] == [1, 2] for i in ("late", *answers)),
        what=lambda: f"each event twice: {running.target.receipts}",
    )
