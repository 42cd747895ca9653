"""Grants of a bucket with a rate and a capacity that change."""

import asyncio

import pytest

from eventflow_processor.quota.bucket import Bucket, capacity_of
from tests.support.virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time


async def seconds_for(bucket: Bucket, attempts: int) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for _ in range(attempts):
        await bucket.acquire()
    return loop.time() - began_s


async def test_a_bucket_starts_without_a_burst_and_keeps_its_rate() -> None:
    bucket = Bucket(rate_per_s=100, capacity=10, cost=1)
    assert await seconds_for(bucket, 30) >= 0.29


async def test_cost_is_spent_per_attempt() -> None:
    bucket = Bucket(rate_per_s=100, capacity=50, cost=25)
    assert await seconds_for(bucket, 2) >= 0.49


async def test_an_idle_bucket_grants_its_burst_at_once() -> None:
    bucket = Bucket(rate_per_s=100, capacity=20, cost=1)
    await asyncio.sleep(0.25)
    assert await seconds_for(bucket, 20) < 0.1
    assert await seconds_for(bucket, 2) >= 0.01


async def test_changes_hand_out_no_burst_and_lose_no_progress() -> None:
    """A slow share that changes far more often than it grants: in the end it has granted as much as its rates allow."""
    bucket = Bucket(rate_per_s=2, capacity=1, cost=1)

    async def change_often() -> None:
        for number in range(100):
            bucket.change(rate_per_s=2 if number % 2 else 4, capacity=1 + number % 3)
            await asyncio.sleep(0.01)

    changing = asyncio.create_task(change_often())
    taken_s = await seconds_for(bucket, 3)
    changing.cancel()
    # 3 units at 2 to 4 per second; lost progress would take 2.5 s.
    assert 0.74 <= taken_s <= 1.5


async def test_what_is_granted_while_the_bucket_changes_is_granted_once() -> None:
    """Both come in one tick: the old bucket wakes the waiter, and the new one takes over the units that were left."""
    bucket = Bucket(rate_per_s=2, capacity=1, cost=1)
    waiting = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.advance(0.51)  # the timer is due, and has not run
    loop.call_later(0, lambda: bucket.change(rate_per_s=0.01, capacity=1))
    await waiting
    granted_again = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0.05)
    assert not granted_again.done()
    granted_again.cancel()


async def test_whoever_waits_gets_the_new_rate() -> None:
    bucket = Bucket(rate_per_s=0.01, capacity=1, cost=1)
    waiting = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0.01)
    bucket.change(rate_per_s=100, capacity=3)
    async with asyncio.timeout(1):
        await waiting


async def test_two_changes_in_one_tick_of_the_event_loop_are_both_heeded() -> None:
    """Reproduced on 0.1.0: a bunch of answers with `X-RateLimit-Remaining: 0` killed 50 deliveries of 1 500.

    The first change had let the one that waits go, and the second raised `RuntimeError: Cannot change state of expiring
    Timeout`.
    """
    bucket = Bucket(rate_per_s=0.01, capacity=1, cost=1)
    waiting = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0.01)
    errors = []

    def change(rate_per_s: float) -> None:
        try:
            bucket.change(rate_per_s=rate_per_s, capacity=1)
        except RuntimeError as error:
            errors.append(error)

    loop = asyncio.get_running_loop()

    def change_within_ticks() -> None:
        change(1)
        loop.call_soon(change, 2)
        loop.call_soon(lambda: loop.call_soon(change, 100))

    loop.call_soon(change_within_ticks)
    async with asyncio.timeout(1):
        assert await waiting
    assert not errors


async def test_what_is_left_can_be_thrown_away() -> None:
    bucket = Bucket(rate_per_s=100, capacity=20, cost=1)
    await asyncio.sleep(0.25)
    bucket.keep_at_most(5)
    bucket.keep_at_most(10)
    assert await seconds_for(bucket, 5) < 0.04
    assert await seconds_for(bucket, 10) >= 0.08


def test_the_buckets_of_all_hold_no_more_than_burst_or_an_attempt_each() -> None:
    def of_all(processors: int, *, burst: float, cost: float) -> float:
        return processors * capacity_of(share_per_s=0, burst=burst / processors, cost=cost)

    assert [of_all(n, burst=1000, cost=50) for n in (1, 4, 20)] == [1000, 1000, 1000]
    assert of_all(8, burst=1, cost=1) == 8


async def test_an_attempt_at_once_takes_only_what_the_bucket_holds() -> None:
    bucket = Bucket(rate_per_s=100, capacity=2, cost=1)
    assert not bucket.acquire_at_once(), "it starts empty"
    await asyncio.sleep(0.05)
    assert [bucket.acquire_at_once() for _ in range(3)] == [True, True, False]
    assert await seconds_for(bucket, 2) >= 0.01
