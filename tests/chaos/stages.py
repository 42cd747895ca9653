"""Stages of every scenario: a fault under load, the rest after it, and the end of the services."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aio_pika

from tests.chaos.world import Surroundings
from tests.support.amqp import Amqp
from tests.support.wait import eventually

STRAGGLERS_WITHIN_S = 4.0
"""Longest time for which accepted events may be missing from all queues: they are on the way into one, or lost."""

QUEUES_SAFE_AFTER_S = 4.0
"""RabbitMQ (at least 3.10) saves the list of its quorum queues with a delay of 3 s. A node that is killed earlier loses
the newest queues with all their messages. No client can prevent that, so faults start later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """State of the work on the accepted events.

    Attributes:
        is_going_on: Whether a queue has work or a service is busy.
        missing: Number of events of which the result is still missing.
    """

    is_going_on: bool
    missing: int


async def happen(fault: Awaitable[None], world: Surroundings, *, at_least: int, deadline_s: float) -> list[str]:
    """Cause a fault under load, and end the load. Afterwards everything runs again in any case.

    Returns:
        Problems: that of the fault, and each service that had ended.
    """
    problems = []
    try:
        async with asyncio.timeout(deadline_s):
            await fault
            await eventually(
                lambda: len(world.load.accepted) >= at_least,
                within_s=deadline_s,
                what=lambda: f"{at_least} accepted events, not {len(world.load.accepted)}",
            )
    except Exception as error:  # noqa: BLE001 - any error is a problem of this scenario, and the check still follows
        problems.append(f"{type(error).__name__}: {error}")
    await world.heal()
    for service in world.services:
        if service.process.alive:
            service.process.resume()
        else:
            problems.append(f"{service.process.name} has ended with {service.process.returncode}:\n{service.output}")
            service.process.start()
    await world.load.stop()
    return problems


async def comes_to_rest(world: Surroundings, work: Callable[[], Awaitable[Work]], *, within_s: float) -> bool:
    """Wait until no work is left; return whether that happened in time."""
    idle_since_s = world.now_s
    deadline_s = world.now_s + within_s
    while world.now_s < deadline_s:
        state = await work()
        if state.is_going_on:
            idle_since_s = world.now_s
        idle_s = world.now_s - idle_since_s
        if (idle_s > 0.5 and state.missing <= 0) or idle_s > STRAGGLERS_WITHIN_S:
            return True
        await asyncio.sleep(0.2)
    return False


async def end(world: Surroundings) -> list[str]:
    """Stop the services with SIGTERM; return each that did not end in order, and the tracebacks of all."""
    problems = []
    for service in world.services:
        status = await asyncio.to_thread(service.process.stop, 30)
        if status != 0:
            problems.append(f"{service.process.name} ended with {status}:\n{service.output}")
        problems += service.tracebacks
    return problems


async def depth(amqp: Amqp, queue: str) -> int:
    """Return how many messages are ready in a queue; 0 if there is no such queue."""
    try:
        return await amqp.depth(queue)
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return 0
