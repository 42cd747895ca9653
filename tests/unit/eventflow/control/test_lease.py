"""The lease on the control connection."""

import asyncio

import pytest

from eventflow.control import lease as module
from eventflow.control.lease import LOST_AFTER_S, ControlLease


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def test_it_is_lost_until_the_first_look_and_again_when_none_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOST_AFTER_S", 0.05)
    lease, changes = ControlLease(), []
    lease.on_change(changes.append)
    assert lease.is_lost
    lease.extend(now_s())
    assert not lease.is_lost
    async with asyncio.timeout(5):
        await lease.lost_for(0.01)
    assert lease.is_lost
    assert changes == [False, True]


async def test_looks_that_follow_each_other_are_no_change() -> None:
    lease, changes = ControlLease(), []
    lease.on_change(changes.append)
    for _ in range(10):
        lease.extend(now_s())
        await asyncio.sleep(0)
    assert changes == [False]


async def test_an_answer_that_comes_late_extends_from_its_question() -> None:
    """A process that was suspended reads the answer from its socket long after the broker has written it."""
    lease = ControlLease()
    lease.extend(now_s() - LOST_AFTER_S)
    async with asyncio.timeout(1):
        await lease.lost_for(0)


async def test_a_slow_answer_does_not_shorten_what_a_later_check_has_granted() -> None:
    lease, changes = ControlLease(), []
    lease.on_change(changes.append)
    lease.extend(now_s())
    lease.extend(now_s() - LOST_AFTER_S)
    for _ in range(3):
        await asyncio.sleep(0)
    assert changes == [False]
