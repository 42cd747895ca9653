"""Passwords are checked off the event loop, a few at a time."""

import asyncio
import threading
from dataclasses import dataclass

import pytest

from eventflow_console.auth.verifier import CHECKS_MAX, WAITING_MAX, TooManyWaitError, Verifier
from tests.support.console import cheap_hash
from tests.support.wait import eventually


@dataclass
class SlowHash:
    """A hash whose check lasts until the test ends it."""

    name: str
    released: threading.Event
    running: list[str]

    def matches(self, password: str) -> bool:
        self.running.append(self.name)
        self.released.wait(10)
        return password == "right"


def slow_hashes(count: int) -> list[SlowHash]:
    released, running = threading.Event(), []
    return [SlowHash(str(number), released, running) for number in range(count)]


async def test_a_right_password_is_remembered_and_a_wrong_one_is_not():
    verifier, hashed = Verifier(), cheap_hash("right password")
    assert not verifier.remembers("right password", hashed)
    assert await verifier.is_right("right password", hashed)
    assert verifier.remembers("right password", hashed)
    assert not await verifier.is_right("wrong password", hashed)
    assert not verifier.remembers("wrong password", hashed)


async def test_a_new_password_ends_the_memory_of_the_old_one():
    verifier = Verifier()
    await verifier.is_right("right password", cheap_hash("right password"))
    assert not verifier.remembers("right password", cheap_hash("new password"))


async def test_the_same_password_at_once_is_checked_once():
    verifier, [hashed] = Verifier(), slow_hashes(1)
    checks = [asyncio.create_task(verifier.is_right("right", hashed)) for _ in range(6)]
    await eventually(lambda: hashed.running, what="the check")
    hashed.released.set()
    assert all(await asyncio.gather(*checks))
    assert len(hashed.running) == 1


async def test_checks_at_the_same_time_are_bounded_even_if_the_clients_leave():
    verifier, hashes = Verifier(), slow_hashes(CHECKS_MAX + 2)
    checks = [asyncio.create_task(verifier.is_right("right", hashed)) for hashed in hashes]
    await eventually(lambda: len(hashes[0].running) == CHECKS_MAX, what="the first checks")
    for check in checks:
        check.cancel()
    await asyncio.wait(checks)
    await asyncio.sleep(0.05)
    assert len(hashes[0].running) == CHECKS_MAX
    hashes[0].released.set()
    await eventually(lambda: len(hashes[0].running) == len(hashes), what="the rest")
    await eventually(lambda: not verifier._checking, what="the end of all")


async def test_too_many_that_wait_are_refused():
    verifier, hashes = Verifier(), slow_hashes(WAITING_MAX + 1)
    checks = [asyncio.create_task(verifier.is_right("right", hashed)) for hashed in hashes[:-1]]
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaitError):
        await verifier.is_right("right", hashes[-1])
    hashes[0].released.set()
    await asyncio.gather(*checks)
