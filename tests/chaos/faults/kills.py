"""SIGKILL, SIGTERM and SIGSTOP of the broker and of both services."""

import asyncio

from sandbox.target.rates import SlidingWindowMaximum
from tests.chaos.scenario import Scenario
from tests.chaos.world import POISONED, World, failing_first, number_of
from tests.support.proxy import Link
from tests.support.target import Receipt
from tests.support.wait import eventually

KILL_RUN_DUPLICATES_MAX = 0.01
QUOTA_PER_S = 250  # above the load, so that the backlog of a freeze can be delivered


def consuming(link: Link) -> bool:
    return link.consumes


def publishing(link: Link) -> bool:
    return link.publishes


async def broker_killed(world: World) -> None:
    for _ in range(4):
        await world.accepts(world.dice.randrange(100, 500))
        await world.crash_broker()
    await world.accepts(100)


async def broker_killed_frozen(world: World, *, times: int = 3) -> None:
    """Everything that was sent to the frozen broker is lost with it: unconfirmed publishes, and acks."""
    for _ in range(times):
        await world.accepts(world.dice.randrange(100, 500))
        world.node.pause()
        await world.pause(0.1, 1.0)
        await world.crash_broker()
    await world.accepts(100)


async def broker_restarted(world: World) -> None:
    for _ in range(2):
        await world.accepts(world.dice.randrange(100, 500))
        await asyncio.to_thread(world.node.restart)
    await world.accepts(100)


async def collector_killed(world: World) -> None:
    """Every second time, its confirms are held back first, so that it ends between a publish and its 202."""
    assert world.collector_proxy is not None
    for number in range(8):
        await world.accepts(world.dice.randrange(50, 300))
        with world.collector_proxy.stalled(to_broker=False, applies=publishing if number % 2 else _none):
            await world.pause(0.0, 0.3)
            world.collector.process.kill()
            world.collector_proxy.cut()
        await world.start(world.collector)
    await world.accepts(100)


async def processor_killed_at_a_2xx(world: World, *, times: int = 6) -> None:
    """The processor is killed after a 2xx and before its ack, with other attempts in flight."""
    kill_at_next = False
    kills = 0

    async def answer(_: Receipt) -> int:
        nonlocal kill_at_next, kills
        await asyncio.sleep(0.02)
        if kill_at_next:
            kill_at_next = False
            world.processor.process.kill()
            kills += 1
        return 200

    world.target.answer = answer
    for number in range(1, times + 1):
        await world.delivers(world.dice.randrange(100, 400))
        await world.catches_up()
        kill_at_next = True
        await eventually(lambda: kills == number, what="the kill at an attempt")  # noqa: B023 - awaited at once
        await world.start(world.processor)
    await world.delivers(100)


async def processor_killed_before_acks(world: World) -> None:
    """The processor is killed when retries are confirmed and the acks are held back: both copies exist, and the attempt
    counts once.
    """
    assert world.processor_proxy is not None
    world.target.answer = failing_first(every=5)
    for _ in range(5):
        await world.delivers(world.dice.randrange(100, 400))
        with world.processor_proxy.stalled(to_broker=True, applies=consuming):
            await world.pause(0.05, 0.2)
            world.processor.process.kill()
            world.processor_proxy.cut()
        await world.start(world.processor)
    await world.delivers(100)
    highest = max(receipt.attempt for receipt in world.target.receipts)
    assert highest <= 2, f"attempt {highest} of an event whose second attempt succeeds"


async def processor_killed_before_confirms(world: World, *, times: int = 5) -> None:
    """The processor is killed when copies for retry and dead queue are unconfirmed: the originals still exist."""
    assert world.processor_proxy is not None
    world.target.answer = lambda receipt: POISONED if number_of(receipt) % 5 == 0 else 200
    for _ in range(times):
        await world.delivers(world.dice.randrange(100, 400))
        with world.processor_proxy.stalled(to_broker=True, applies=publishing):
            await world.pause(0.3, 0.8)
            world.processor.process.kill()
            world.processor_proxy.cut()
        await world.start(world.processor)
    await world.delivers(100)


async def processor_crash_loop(world: World) -> None:
    """Each run holds a whole prefetch window and settles nothing: the broker counts 25 deliveries of each event."""
    released = asyncio.Event()

    async def answer(_: Receipt) -> int:
        if released.is_set():
            return 200
        await released.wait()
        return 500

    world.target.answer = answer
    for _ in range(25):
        world.processor.process.kill()
        before = len(world.target.receipts)
        await world.start(world.processor)
        await eventually(lambda: len(world.target.receipts) >= before + 64, what="attempts in flight")  # noqa: B023
    released.set()


async def everything_killed(world: World) -> None:
    """Broker, collector and processor are killed in random order, at random moments, once all together."""
    victims = ["broker", "collector", "processor"]
    world.dice.shuffle(victims)
    for victim in [*victims, "all"]:
        await world.accepts(world.dice.randrange(50, 200))
        await world.catches_up()
        if victim in {"collector", "all"}:
            world.collector.process.kill()
        if victim in {"processor", "all"}:
            world.processor.process.kill()
        if victim in {"broker", "all"}:
            await world.crash_broker()
        for service in (world.collector, world.processor):
            if not service.process.alive:
                await world.start(service)
    await world.accepts(100)


async def processors_come_and_go(world: World) -> None:
    """One processor, then five, then two: one is terminated, one is killed, one is frozen and then killed."""
    await world.accepts(300)
    others = [world.another_processor(TARGET__RATE_PER_S=str(QUOTA_PER_S)) for _ in range(4)]
    try:
        for other in others:
            await world.start(other)
        await world.accepts(1500)
        await world.terminate(others[0])
        others[1].process.kill()
        others[2].process.pause()
        await world.accepts(1500)
        others[2].process.kill()
        await world.delivers(500)
        await world.terminate(others[3])
        _keeps_to_the_quota(world, at_most=QUOTA_PER_S * 1.02 + 5)
    finally:
        for other in others:
            other.process.kill()


async def services_terminated(world: World) -> None:
    """Both services drain and exit with status 0, several times, and no event is sent twice."""
    for _ in range(4):
        await world.accepts(world.dice.randrange(100, 400))
        await world.terminate(world.collector)
        await world.start(world.collector)
        await world.accepts(world.dice.randrange(100, 400))
        await world.terminate(world.processor)
        await world.start(world.processor)


async def broker_frozen(world: World) -> None:
    await world.accepts(500)
    world.node.pause()
    await asyncio.sleep(0.1)
    frozen_s = world.now_s
    await asyncio.sleep(40)
    world.accepts_none_since(frozen_s)
    world.node.resume()
    await world.accepts(500)


async def processor_frozen(world: World) -> None:
    """Frozen for less than one heartbeat and for more than two: afterwards the quota still holds."""
    for frozen_s in (5, 25):
        await world.delivers(300)
        world.processor.process.pause()
        await asyncio.sleep(frozen_s)
        world.processor.process.resume()
    await world.delivers(300)
    _keeps_to_the_quota(world, at_most=QUOTA_PER_S * 1.1)


def _keeps_to_the_quota(world: World, *, at_most: float) -> None:
    second = SlidingWindowMaximum(1.0)
    for at_s in sorted(receipt.at_s for receipt in world.target.receipts):
        second.add(at_s)
    world.remarks.append(f"at most {second.maximum} attempts in any second at a quota of {QUOTA_PER_S}/s")
    assert second.maximum <= at_most, f"{second.maximum} attempts in one second"


def _none(_: Link) -> bool:
    return False


EVERYTHING_KILLED = Scenario(
    entry="1 2 12",
    name="broker, collector and processor killed, in turn and together",
    fault=everything_killed,
    duplicates_max=KILL_RUN_DUPLICATES_MAX,
)
BROKER_KILLED = Scenario(
    entry="1",
    name="broker killed 4 times mid-publish",
    fault=broker_killed,
    duplicates_max=KILL_RUN_DUPLICATES_MAX,
)
BROKER_KILLED_FROZEN = Scenario(entry="1", name="broker frozen and then killed, 3 times", fault=broker_killed_frozen)
PROCESSOR_KILLED = Scenario(
    entry="12",
    name="processor killed 6 times between the target's 2xx and its ack",
    fault=processor_killed_at_a_2xx,
    at_least=4000,
    duplicates_max=KILL_RUN_DUPLICATES_MAX,
)
PROCESSOR_KILLED_BEFORE_CONFIRMS = Scenario(
    entry="13",
    name="processor killed 5 times before the confirms of its copies",
    fault=processor_killed_before_confirms,
    proxied=True,
    processor={"TARGET__MAX_ATTEMPTS": "2"},
)

SCENARIOS = (
    EVERYTHING_KILLED,
    BROKER_KILLED,
    BROKER_KILLED_FROZEN,
    Scenario(
        entry="1",
        name="broker restarted in order, twice",
        fault=broker_restarted,
        duplicates_max=KILL_RUN_DUPLICATES_MAX,
    ),
    Scenario(
        entry="2",
        name="collector killed 8 times, half of them between publish and 202",
        fault=collector_killed,
        duplicates_max=KILL_RUN_DUPLICATES_MAX,
        proxied=True,
    ),
    Scenario(entry="3", name="broker frozen for 40 s (SIGSTOP)", fault=broker_frozen),
    PROCESSOR_KILLED,
    Scenario(
        entry="13",
        name="processor killed 5 times between its copies' confirms and the acks",
        fault=processor_killed_before_acks,
        proxied=True,
        note="all acks of up to 0.2 s are held back, so duplicates are intended",
    ),
    PROCESSOR_KILLED_BEFORE_CONFIRMS,
    Scenario(
        entry="14",
        name="processor in a crash loop, 25 times, prefetch 200",
        fault=processor_crash_loop,
        processor={"PROCESSOR__PREFETCH": "200"},
    ),
    Scenario(
        entry="27",
        name=f"processor frozen for 5 s and 25 s (SIGSTOP), quota {QUOTA_PER_S}/s",
        fault=processor_frozen,
        processor={"TARGET__RATE_PER_S": str(QUOTA_PER_S)},
    ),
    Scenario(
        entry="26",
        name="processors 1 → 5 → 2: one terminated, one killed, one cut off",
        fault=processors_come_and_go,
        processor={"TARGET__RATE_PER_S": str(QUOTA_PER_S)},
        duplicates_max=KILL_RUN_DUPLICATES_MAX * 3,
        note="events that a processor holds when it is killed or cut off are delivered at most twice",
    ),
    Scenario(
        entry="29",
        name="collector and processor terminated 4 times each (SIGTERM)",
        fault=services_terminated,
        duplicates_max=0,
    ),
)
