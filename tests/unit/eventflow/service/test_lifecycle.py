"""A stop that is requested, delayed and hurried."""

import asyncio
import os
import signal

import pytest

from eventflow.service.lifecycle import Stop, delayed_stop

DELAY_S = 60.0


@pytest.mark.virtual_time
async def test_a_stop_is_due_only_after_its_delay() -> None:
    stop, loop = Stop(delay_s=DELAY_S), asyncio.get_running_loop()
    began_s = loop.time()
    stop.request()
    assert stop.requested.is_set()
    assert not stop.due.is_set()
    await asyncio.sleep(DELAY_S / 2)
    stop.request()  # a second request does not prolong the delay
    await stop.due.wait()
    assert loop.time() - began_s == pytest.approx(DELAY_S, abs=0.1)
    assert not stop.hurried.is_set()


async def test_without_a_delay_a_stop_is_due_at_once() -> None:
    stop = Stop(delay_s=0)
    stop.request()
    async with asyncio.timeout(1):
        await stop.due.wait()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_delay(second: signal.Signals) -> None:
    stop = delayed_stop(delay_s=DELAY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        await stop.requested.wait()
    assert not stop.due.is_set()
    os.kill(os.getpid(), second)
    async with asyncio.timeout(5):
        await stop.due.wait()
    assert stop.hurried.is_set()


async def test_a_process_with_a_parent_takes_a_second_signal_for_the_same_request() -> None:
    stop = delayed_stop(delay_s=DELAY_S, takes_hurry=False)
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await stop.requested.wait()
        await asyncio.sleep(0.05)
    assert not stop.due.is_set()
    stop.hurry()
    assert stop.due.is_set()
