"""Processors that could break the quota: without a control connection, or with the same name."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.chaos.scenario import Scenario
from tests.chaos.world import PROGRESS_WITHIN_S, World
from tests.support.proxy import Link, no_link
from tests.support.services import Service
from tests.support.wait import eventually

NOTICED_AFTER_S = 4.0
"""The roster is read every second, and a reading is valid for 3 s."""


async def control_lost(world: World) -> None:
    """The control connection is lost twice: the broker refuses it, and its line is silent."""
    assert world.processor_proxy is not None
    proxy = world.processor_proxy
    await world.accepts(300)
    proxy.refuses = _is_control
    proxy.cut(_is_control)
    await _falls_silent(world)
    proxy.refuses = no_link
    await world.delivers(200)
    with proxy.stalled(to_broker=False, applies=_is_control):
        await _falls_silent(world)
    await world.delivers(200)


async def same_names(world: World) -> None:
    """Two processors with equal host names and process ids replace the first."""
    await world.accepts(300)
    async with _started(world, [world.living_url] * 2, module="tests.support.namesakes") as both:
        await world.terminate(world.processor)
        await world.accepts(1000)
        await _all_attempt(world, both)
    await world.start(world.processor)


def _is_control(link: Link) -> bool:
    return link.name.endswith(" control")


async def _falls_silent(world: World) -> None:
    """Wait until the processor must have noticed, and check that it sends nothing afterwards."""
    await asyncio.sleep(NOTICED_AFTER_S)
    since_s = world.now_s
    await world.accepts(300)
    assert not world.attempts_since(since_s), "attempts by a processor without a control connection"
    assert await world.processor.readyz(world.http) == 503


@asynccontextmanager
async def _started(world: World, broker_urls: Sequence[str], **settings: str) -> AsyncIterator[list[Service]]:
    """Run more processors of the flow while the context is open."""
    services = [world.another_processor(url, **settings) for url in broker_urls]
    try:
        for service in services:
            service.process.start()
        yield services
        await asyncio.gather(*(world.terminate(service) for service in services))
    finally:
        for service in services:
            service.process.kill()


async def _all_attempt(world: World, services: Sequence[Service]) -> None:
    async def attempt() -> bool:
        return all([await service.metric(world.http, "eventflow_attempts_total") for service in services])

    for service in services:
        await service.ready(world.http, within_s=PROGRESS_WITHIN_S)
    await eventually(attempt, within_s=PROGRESS_WITHIN_S, what="an attempt by each processor")


SCENARIOS = (
    Scenario(entry="", name="lost control connection, refused and silent", fault=control_lost, proxied=True),
    Scenario(
        entry="",
        name="same names: two processors of equal host name and process id",
        fault=same_names,
        duplicates_max=0.01,
    ),
)
