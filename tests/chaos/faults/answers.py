"""A target with random answers: status lines, heads, framing, surplus bytes, rate headers, several at once."""

import asyncio
import random

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.hostile import Ending, HostileAnswer, hostile_answer
from tests.support.target import Receipt

BUNCH = 40


class RawAnswer(web.StreamResponse):
    """Answer that is written below aiohttp's server, which then continues on the connection."""

    def __init__(self, answer: HostileAnswer) -> None:
        super().__init__(status=200 if answer.means_success else 500)  # only for the records of the target
        self._answer = answer

    @property
    def keep_alive(self) -> bool:
        return self._answer.ending is Ending.KEPT

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        await request._prepare_hook(self)
        transport = request.transport
        if transport is None:
            return None
        for segment in self._answer.segments:
            transport.write(segment)
            await asyncio.sleep(0)
        match self._answer.ending:
            case Ending.RESET:
                transport.abort()
            case Ending.CLOSED:
                transport.close()
            case Ending.DEAF:
                while not transport.is_closing():  # noqa: ASYNC110 - aiohttp has no event for it
                    await asyncio.sleep(0.05)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing more: `prepare` has written all."""


async def target_is_hostile(world: World) -> None:
    """Every answer is random, and sometimes many are sent at once.

    An event counts as accepted only if its own answer means success. A success that is read as a failure would show as
    a duplicate, and a surplus answer that is read as the answer to another event would show as a loss.
    """
    held: list[asyncio.Event] = []

    async def answer(receipt: Receipt) -> web.StreamResponse:
        dice = random.Random(f"{seed}/{receipt.id}/{receipt.attempt}")  # the same in any order of the events
        drawn = hostile_answer(dice)
        if dice.random() < 0.2:
            held.append(bunched := asyncio.Event())
            if len(held) >= BUNCH:
                release()
            await bunched.wait()
        return RawAnswer(drawn)

    def release() -> None:
        while held:
            held.pop().set()

    seed = world.dice.random()
    await world.delivers(300)
    before = world.rss_mib()
    world.target.answer = answer
    enough = len(world.target.taken) + 3000
    while len(world.target.taken) < enough:
        had = len(world.target.taken)
        await world.delivers(100)
        release()
        assert len(world.target.taken) > had
    world.target.answer = lambda _: 200
    release()
    world.remark_memory(before)
    twice = len(world.target.taken) - len({receipt.id for receipt in world.target.taken})
    assert twice == 0, f"{twice} events were sent again although the target had accepted them"


SCENARIOS = (
    Scenario(
        entry="32",
        name="hostile target: random answers, surplus bytes, many at once",
        fault=target_is_hostile,
        duplicates_max=0.0,
        processor={"TARGET__MAX_RETRY_AFTER_S": "0.2", "TARGET__MAX_ATTEMPTS": "100"},
    ),
)
