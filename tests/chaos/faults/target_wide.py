"""Failures of the whole target: they count no attempts, even with a single event."""

import asyncio

from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.wait import eventually

NIGHT_S = 90
NIGHT_DELAYS_S = (1.0, 5.0, 10.0)
NIGHT_ATTEMPTS = 9
"""With these delays the last attempt is after 66 s, so the outage lasts longer than all counted attempts."""

STORM_S = 20


async def night_for_one_event(world: World) -> None:
    """A short form of the README's night. The flow has a single event, the hardest case: no others fail beside it."""
    await world.accepts(200)
    async with world.load.paused():
        await world.live_queue_empty()
        world.target.answer = lambda _: 503
        assert await world.post("alone") == 202
        world.load.accepted_at_s["alone"] = world.now_s
        await asyncio.sleep(NIGHT_S)
        attempts = len(world.target.of("alone"))
        assert await world.dead() == 0, f"the event was dead-lettered after {attempts} attempts"
        world.target.answer = lambda _: 200
        await eventually(
            lambda: any(receipt.id == "alone" for receipt in world.target.taken),
            within_s=90,
            what=lambda: f"the delivery of the event after the night\n{world.processor.output}",
        )
    world.remarks.append(
        f"{attempts} attempts in a night of {NIGHT_S} s, at most {NIGHT_ATTEMPTS - 1} of which may count"
    )


async def token_expired(world: World) -> None:
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
    assert await world.dead() == 0, "events were dead-lettered for a status that all events got"
    world.remarks.append(f"{attempts} attempts in the {STORM_S} s")


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
        name="401 to every event under load, until the token is renewed",
        fault=token_expired,
        processor={"TARGET__MAX_ATTEMPTS": "3"},
    ),
)
