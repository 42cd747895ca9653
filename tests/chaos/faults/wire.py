"""Faults of a network, a load balancer or a wrong broker on AMQP connections, caused by the proxy."""

import asyncio

from tests.chaos.faults.kills import publishing
from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.proxy import Confirms, Proxy
from tests.support.wait import eventually

CONNECT_MAX_S = 10.0


async def accepted_and_never_spoken_to(world: World) -> None:
    """A connection attempt ends within 10 s, and the first one with an answer restores everything."""
    await world.accepts(500)
    proxies = _proxies(world)
    for proxy in proxies:
        proxy.silent = True
        proxy.history.clear()
        proxy.cut()

    def given_up() -> list[float]:
        return [link.closed_s - link.opened_s for proxy in proxies for link in proxy.history if link.closed_s]

    await eventually(lambda: len(given_up()) >= 4, within_s=40, what="the end of four connection attempts")
    longest_s = max(given_up())
    assert longest_s <= CONNECT_MAX_S + 1, f"a connection attempt lasted {longest_s:.1f} s"
    for proxy in proxies:
        proxy.silent = False
    await world.accepts(500)


async def connections_cut(world: World) -> None:
    """Connections are reset at random moments, of one service or of both."""
    for _ in range(12):
        await world.accepts(world.dice.randrange(50, 250))
        proxies = _proxies(world)
        for proxy in world.dice.sample(proxies, world.dice.randint(1, 2)):
            proxy.cut()
    await world.delivers(200)


async def confirms_dropped(world: World) -> None:
    """The broker keeps every event but its confirms are lost: no 202, and afterwards everything works as before."""
    await _without_confirms(world, Confirms.DROP)


async def confirms_refused(world: World) -> None:
    """Every ack of the broker becomes a nack: no 202."""
    await _without_confirms(world, Confirms.REFUSE)


async def _without_confirms(world: World, fate: Confirms) -> None:
    proxy, _ = _proxies(world)
    for _ in range(2):
        await world.accepts(world.dice.randrange(200, 600))
        proxy.confirms = fate
        await asyncio.sleep(0.2)
        since_s = world.now_s
        await world.pause(3, 6)
        world.accepts_none_since(since_s)
        proxy.confirms = Confirms.PASS
    await world.accepts(200)


async def publishing_stalled(world: World) -> None:
    """Publishing stalls, buffers fill and clients hang up. Afterwards every confirm still belongs to its publish."""
    proxy, _ = _proxies(world)
    for to_broker in (True, False):
        await world.accepts(world.dice.randrange(200, 600))
        with proxy.stalled(to_broker=to_broker, applies=publishing):
            await asyncio.sleep(0.3)
            since_s = world.now_s
            await world.pause(4, 7)
            world.accepts_none_since(since_s)
    await world.accepts(200)


async def slow_and_lossy(world: World) -> None:
    proxies = _proxies(world)
    for proxy in proxies:
        proxy.delay_s, proxy.lost_share = 0.1, 0.02
    await world.delivers(1500)
    for proxy in proxies:
        proxy.cut()
    await world.delivers(500)


def _proxies(world: World) -> list[Proxy]:
    assert world.collector_proxy is not None
    assert world.processor_proxy is not None
    return [world.collector_proxy, world.processor_proxy]


SCENARIOS = (
    Scenario(
        entry="4", name="connections accepted and never answered", fault=accepted_and_never_spoken_to, proxied=True
    ),
    Scenario(entry="5", name="confirms dropped", fault=confirms_dropped, proxied=True),
    Scenario(entry="6", name="acks turned into nacks", fault=confirms_refused, proxied=True),
    Scenario(
        entry="7",
        name="publishing stalled until buffers are full and clients hang up, both directions",
        fault=publishing_stalled,
        proxied=True,
        body_bytes=32 * 1024,
        client_timeout_s=1.0,
        note="bodies of 32 KiB",
    ),
    Scenario(entry="", name="connections reset 12 times", fault=connections_cut, proxied=True),
    Scenario(
        entry="30",
        name="round trip 200 ms, 2 % of frames late by 300 ms",
        fault=slow_and_lossy,
        proxied=True,
        note="in the proxy, not in the kernel",
    ),
)
