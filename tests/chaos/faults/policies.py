"""Policies of other users on every queue of the broker, while ours are set."""

from functools import partial

import aio_pika

from eventflow.topology import QueueSpec
from tests.chaos.scenario import Scenario
from tests.chaos.world import POISONED, World, number_of
from tests.support.amqp import Amqp
from tests.support.policies import policies_on
from tests.support.wait import eventually

WITNESS = QueueSpec(name="witness-of-policies", arguments={"x-queue-type": "quorum"})
UNUSED = QueueSpec(name="unused-under-policies", arguments={"x-queue-type": "quorum"})


async def policies_on_everything(world: World) -> None:
    """While no processor runs, live events, retries and dead letters wait longer than each policy allows to others."""
    world.target.answer = lambda receipt: POISONED if number_of(receipt) % 10 == 0 else 200
    async with policies_on(world.node, world.http) as policies, world.amqp() as amqp:
        await policies.shield()
        await amqp.declare([UNUSED])
        for definition, witnessed in (
            ({"max-length": 10}, partial(_keeps_at_most, 10)),
            ({"message-ttl": 3000}, partial(_keeps_at_most, 0)),
            ({"expires": 8000}, _is_gone),
        ):
            await world.accepts(200)
            await world.terminate(world.processor)
            await policies.set(definition)
            await world.accepts(200)
            await witnessed(amqp)
            await world.start(world.processor)
            await world.delivers(200)


async def _keeps_at_most(events: int, amqp: Amqp) -> None:
    """Wait until another queue has lost messages. It is declared again, so it has the policy from the start."""
    await amqp.declare([WITNESS])
    await amqp.publish(WITNESS.name, *[aio_pika.Message(b"")] * 20)

    async def met() -> bool:
        return await amqp.depth(WITNESS.name) <= events

    await eventually(met, within_s=30, what=f"another queue to keep at most {events} messages")
    await amqp.delete(WITNESS.name)


async def _is_gone(amqp: Amqp) -> None:
    """Wait until another queue has expired."""

    async def gone() -> bool:
        try:
            return await amqp.depth(UNUSED.name) < 0
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return True

    await eventually(gone, within_s=30, what="another queue to expire")


SCENARIOS = (
    Scenario(
        entry="",
        name="policies on everything: max-length 10, message-ttl 3000, expires 8000",
        fault=policies_on_everything,
        processor={"TARGET__MAX_ATTEMPTS": "2"},
        note="no processor runs while each takes effect",
    ),
)
