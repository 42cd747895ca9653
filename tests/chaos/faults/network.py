"""The surroundings: a broker with a silent address, and a broker user with some of the permissions."""

import asyncio
import secrets

from eventflow.topology import RIGHTS
from tests.chaos.scenario import Scenario
from tests.chaos.world import PROGRESS_WITHIN_S, World, failing_first
from tests.support.wait import eventually

HALF = (".*", "^eventflow[.]", ".*")
"""All permissions except writing to the default exchange, which is publishing to a queue."""

BACK_WITHIN_S = 4.0
"""A session ends, and the next one begins at the same broker. A silent address alone once cost 11 s."""


async def silent_address(world: World) -> None:
    """The first of two URLs never answers; the sessions on the second are cut several times."""
    assert world.collector_proxy is not None
    assert world.processor_proxy is not None
    longest_s = 0.0
    for _ in range(8):
        await world.accepts(world.dice.randrange(50, 200))
        await world.delivers(50)
        since_s = world.now_s
        world.collector_proxy.cut()
        world.processor_proxy.cut()
        await world.accepts(20, within_s=BACK_WITHIN_S)
        longest_s = max(longest_s, world.now_s - since_s)
    world.remarks.append(f"accepting again within {longest_s:.1f} s")


async def half_rights(world: World) -> None:
    """A second processor may not publish; it gets the permission, and loses it while it works."""
    world.target.answer = failing_first(every=5)
    user, set_rights = f"u{secrets.token_hex(4)}", ("set_permissions", "-p", "/")
    await asyncio.to_thread(world.node.ctl, "add_user", user, "secret")
    await asyncio.to_thread(world.node.ctl, *set_rights, user, *HALF)
    limited = world.another_processor(world.node.url.replace("guest:guest", f"{user}:secret"))
    with limited.process:
        await eventually(lambda: "broker.right_missing" in limited.output, what=lambda: limited.output)
        await world.delivers(300)
        assert await limited.metric(world.http, "eventflow_attempts_total") == 0
        await asyncio.to_thread(world.node.ctl, *set_rights, user, *RIGHTS)
        await limited.ready(world.http, within_s=PROGRESS_WITHIN_S)
        await world.delivers(300)
        await asyncio.to_thread(world.node.ctl, *set_rights, user, *HALF)
        await asyncio.to_thread(world.node.ctl, "close_all_user_connections", user, "the permissions have changed")
        await eventually(lambda: limited.output.count("broker.right_missing") == 2, what=lambda: limited.output)

        async def holds_none() -> bool:
            return await limited.metric(world.http, "eventflow_held_events") == 0

        await eventually(holds_none, what=lambda: f"no event held without the permission\n{limited.output}")
        await world.delivers(300)


SCENARIOS = (
    Scenario(
        entry="-",
        name="silent address of a broker before one that answers, sessions cut 8 times",
        fault=silent_address,
        proxied=True,
        silent_first=True,
    ),
    Scenario(
        entry="-", name="half of the permissions: a processor that may consume and not publish", fault=half_rights
    ),
)
