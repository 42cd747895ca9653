"""Runs one scenario: start, load, fault, wait until all work is done, check."""

import asyncio
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from eventflow.amqp.channel import CONNECTION_ERRORS
from sandbox.broker.cluster import Cluster
from sandbox.broker.node import PrivateNode
from sandbox.database.server import PrivateServer
from sandbox.ports import free_port
from sandbox.source.bodies import Body
from tests.chaos.checker import History, Verdict, check, longest_gap_s
from tests.chaos.scenario import Scenario
from tests.chaos.stages import QUEUES_SAFE_AFTER_S, Work, comes_to_rest, depth, end, happen
from tests.chaos.world import World, delays_text, ids_in
from tests.support.databases import running_server
from tests.support.disk import FaultyDisk
from tests.support.load import SMALL, Load
from tests.support.proxy import Proxy
from tests.support.services import Service, collector, processor
from tests.support.silence import silence
from tests.support.target import ScriptedTarget

SILENT_ADDRESS = "127.0.0.78"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Result of a scenario.

    Attributes:
        acceptance_gap_s: Longest time between two 202s.
        delivery_gap_s: Longest time between two deliveries.
        problems: Expectations that did not hold, besides the verdict of the checker.
    """

    scenario: Scenario
    seed: int
    verdict: Verdict
    acceptance_gap_s: float
    delivery_gap_s: float
    seconds: float
    remarks: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        if self.scenario.must_lose:
            return bool(self.verdict.lost)
        return self.verdict.holds and not self.problems


async def run(scenario: Scenario, broker: PrivateNode | Cluster, *, seed: int) -> Run:
    """Run a scenario to its end, even if its fault raises an error."""
    started_s = time.monotonic()
    async with _opened(scenario, broker, seed) as world:
        problems = await happen(
            scenario.fault(world), world, at_least=scenario.at_least, deadline_s=scenario.deadline_s
        )
        rested = await comes_to_rest(world, partial(_work, world), within_s=scenario.rest_within_s)
        if not rested:
            problems.append(f"work was left after {scenario.rest_within_s:g} s")
        problems += await end(world)
        verdict = check(await _account(world, rested=rested))
    problems += _broken_bounds(scenario, world, verdict)
    return Run(
        scenario=scenario,
        seed=seed,
        verdict=verdict,
        acceptance_gap_s=longest_gap_s(list(world.load.accepted_at_s.values())),
        delivery_gap_s=longest_gap_s([receipt.at_s for receipt in world.target.taken]),
        seconds=time.monotonic() - started_s,
        remarks=tuple(world.remarks),
        problems=tuple(problems),
    )


@asynccontextmanager
async def _opened(scenario: Scenario, broker: PrivateNode | Cluster, seed: int) -> AsyncIterator[World]:
    """Start everything and the load; stop everything at the end of the context."""
    dice = random.Random(f"{seed}/{scenario.name}")  # a scenario chooses the same alone and among all
    flow = f"c{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eventflow-chaos-")))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        target = await stack.enter_async_context(ScriptedTarget())
        proxies: list[Proxy | None] = [None, None]
        if scenario.proxied:
            proxies = [await stack.enter_async_context(Proxy(broker.url, dice=dice)) for _ in range(2)]
        urls = [proxy.url if proxy else broker.url for proxy in proxies]
        if scenario.silent_first:
            silent_port = free_port()
            address = await stack.enter_async_context(silence(SILENT_ADDRESS, silent_port))
            urls = [f"amqp://guest:guest@{address}:{silent_port}/,{url}" for url in urls]
        disk = FaultyDisk(directory / "faults", files=directory / "spool") if scenario.faulty_disk else None
        history_url, database = _history(scenario, directory, stack)
        taking, giving = _services(scenario, flow, urls, target.url, directory / "spool", disk, history_url)
        for service in (taking, giving):
            service.process.start()
            stack.callback(service.process.kill)
        for service in (taking, giving):
            await service.ready(http)
        load = _load(scenario, taking.url)
        stack.push_async_callback(load.stop)
        load.start()
        await asyncio.sleep(QUEUES_SAFE_AFTER_S)
        yield World(
            broker=broker,
            flow=flow,
            retry_delays_s=scenario.retry_delays_s,
            dice=dice,
            collector=taking,
            processor=giving,
            target=target,
            load=load,
            http=http,
            collector_proxy=proxies[0],
            processor_proxy=proxies[1],
            disk=disk,
            history_url=history_url,
            database=database,
        )


def _history(scenario: Scenario, directory: Path, stack: AsyncExitStack) -> tuple[str, PrivateServer | None]:
    """Provide an empty store of the scenario's kind, and return its URL; empty if it needs none."""
    if scenario.history is None:
        return "", None
    if scenario.history == "sqlite":
        return f"sqlite:///{directory}/history.db", None
    directory.chmod(0o711)  # root starts PostgreSQL as another user
    database = stack.enter_context(running_server(directory / "postgresql"))
    return database.url, database


def _services(
    scenario: Scenario,
    flow: str,
    urls: list[str],
    target_url: str,
    spool: Path,
    disk: FaultyDisk | None,
    history_url: str,
) -> tuple[Service, Service]:
    spooling = {"COLLECTOR__SPOOL_DIR": str(spool)} if scenario.spool else {}
    recording = {"HISTORY__URL": history_url} if history_url else {}
    source = {f"FLOWS__{flow.upper()}__SOURCE__{name}": value for name, value in scenario.source.items()}
    taking = collector(
        urls[0],
        flow=flow,
        module=scenario.modules.get("collector", "eventflow_collector"),
        descriptors=scenario.collector_descriptors,
        variables=disk.variables if disk else {},
        preloaded=False,
        COLLECTOR__CONFIRM_TIMEOUT_S="2",
        **spooling,
        **source,
        **scenario.collector,
    )
    giving = processor(
        urls[1],
        flow=flow,
        target_url=target_url,
        module=scenario.modules.get("processor", "eventflow_processor"),
        preloaded=False,
        TARGET__RETRY_DELAYS_S=delays_text(scenario.retry_delays_s),
        **recording,
        **scenario.processor,
    )
    return taking, giving


def _load(scenario: Scenario, url: str) -> Load:
    body = Body(name="large", content=b"x" * scenario.body_bytes) if scenario.body_bytes else SMALL
    return Load(
        url=url,
        rate_per_s=scenario.rate_per_s,
        bodies=(body,),
        timeout_s=scenario.client_timeout_s,
        posts=scenario.posts,
    )


async def _work(world: World) -> Work:
    async with world.amqp() as amqp:
        working = [await depth(amqp, queue) for queue in world.work_queues]
        dead = await depth(amqp, world.dead_queue)
    taken = {receipt.id for receipt in world.target.taken}
    return Work(
        is_going_on=bool(sum(working)) or await _at_work(world), missing=len(world.load.accepted - taken) - dead
    )


async def _at_work(world: World) -> bool:
    """Return whether an attempt is in flight or an event is in the spool."""
    try:
        in_flight = await world.processor.metric(world.http, "eventflow_in_flight")
        return bool(in_flight or await world.collector.metric(world.http, "eventflow_spool_events"))
    except aiohttp.ClientError:
        return False


async def _account(world: World, *, rested: bool) -> History:
    """Find all events. Deliveries that the processor held have returned to their queue, because it has ended."""
    waiting, dead = await _read_queues(world)
    return History(
        accepted=world.load.accepted,
        unaccepted=world.load.unaccepted.keys(),
        delivered=Counter(receipt.id for receipt in world.target.taken),
        dead=dead,
        waiting=waiting,
        unheard=Counter(receipt.id for receipt in world.target.unheard),
        unsettled=waiting.total() if rested else 0,
    )


async def _read_queues(world: World) -> tuple[Counter[str], Counter[str]]:
    """Read and delete work queues and dead queue; a broker that was just killed may need a second try."""
    for tries_left in (2, 1, 0):
        try:
            async with world.amqp() as amqp:
                waiting, dead = await ids_in(amqp, world.work_queues), await ids_in(amqp, [world.dead_queue])
                await amqp.delete(*world.work_queues, world.dead_queue)
                return waiting, dead
        except CONNECTION_ERRORS:
            if not tries_left:
                raise
            await asyncio.sleep(1)
    raise AssertionError("unreachable: the last try returns or raises")


def _broken_bounds(scenario: Scenario, world: World, verdict: Verdict) -> list[str]:
    problems = []
    if verdict.duplicates_share > scenario.duplicates_max:
        problems.append(f"{verdict.duplicates} duplicates of {verdict.accepted} events")
    if set(world.load.refused) - {503}:
        problems.append(f"answers other than 202 and 503: {dict(world.load.refused)}")
    if world.load.slowest_s > scenario.answer_max_s:
        problems.append(f"an answer took {world.load.slowest_s:.1f} s")
    return problems
