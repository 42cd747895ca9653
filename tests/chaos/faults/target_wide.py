"""Failures that are the target's and not the events': they burn no attempts, however few events there are."""

import asyncio

from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.wait import eventually

NIGHT_S = 90
NIGHT_DELAYS_S = (1.0, 5.0, 10.0)
NIGHT_ATTEMPTS = 9
"""With these delays the last attempt is made after 66 s, so the outage outlasts all counted attempts."""

STORM_S = 20


async def night_for_one_event(world: World) -> None:
    """The README's night, shrunk, in its hardest case: the flow has a single event, so no others fail beside it."""
    await world.accepts(200)
    async with world.load.paused():
        await world.live_queue_empty()
        world.target.answer = lambda _: 503
        assert await world.post("alone") == 202
        world.load.accepted_at_s["alone"] = world.now_s
        await asyncio.sleep(NIGHT_S)
        attempts = len(world.target.of("alone"))
        assert await _dead(world) == 0, f"the event was given up after {attempts} attempts"
        world.target.answer = lambda _: 200
        await eventually(
            lambda: any(receipt.id == "alone" for receipt in world.target.taken),
            within_s=90,
            what=lambda: f"the event delivered after the night\n{world.processor.output}",
        )
    world.remarks.append(
        f"{attempts} attempts in a night of {NIGHT_S} s, of which at most {NIGHT_ATTEMPTS - 1} may count"
    )


async def unauthorized_to_everybody(world: World) -> None:
    """A token expires under load and is renewed."""
    await world.delivers(500)
    world.target.answer = lambda _: 401
    began_s = world.now_s

    async def is_blocked() -> bool:
        return await world.processor.metric(world.http, "eventflow_blocked") == 1

    await eventually(is_blocked, within_s=5, what="the flow blocked")
    await asyncio.sleep(STORM_S)
    attempts = world.attempts_since(began_s)
    world.target.answer = lambda _: 200
    await world.delivers(500, within_s=60)
    assert await _dead(world) == 0, "events were given up for a status that everybody got"
    world.remarks.append(f"{attempts} attempts in the {STORM_S} s")


async def _dead(world: World) -> int:
    async with world.amqp() as amqp:
        return await amqp.depth(world.dead_queue)


SCENARIOS = (
    Scenario(
        entry="",
        name=f"a night's outage ({NIGHT_S} s) for the only event of a flow",
        fault=night_for_one_event,
        at_least=500,
        deadline_s=240,
        retry_delays_s=NIGHT_DELAYS_S,
        processor={"TARGET__MAX_ATTEMPTS": str(NIGHT_ATTEMPTS)},
    ),
    Scenario(
        entry="",
        name="401 to everybody under load, until the token is renewed",
        fault=unauthorized_to_everybody,
        processor={"TARGET__MAX_ATTEMPTS": "3"},
    ),
)
