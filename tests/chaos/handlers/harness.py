"""Runs one scenario of handlers: start, load, fault, wait until all work is done, check."""

import random
import secrets
import tempfile
import time
from asyncio import sleep
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg

from eventflow.database.schema import DATABASE
from eventflow.handling.derived import derived_id
from eventflow.topology import dead_queue
from sandbox.broker.node import PrivateNode
from sandbox.database.server import PrivateServer
from tests.chaos.checker import longest_gap_s
from tests.chaos.handlers.checker import Ledger, Verdict, check
from tests.chaos.handlers.function import EFFECTS, SESSIONS_VARIABLE, sessions
from tests.chaos.handlers.scenario import FUNCTIONS, HandlerScenario
from tests.chaos.handlers.world import HandlerWorld, Part
from tests.chaos.stages import QUEUES_SAFE_AFTER_S, Work, comes_to_rest, depth, end, happen
from tests.chaos.world import delays_text, ids_in, work_queues
from tests.support.databases import running_server
from tests.support.load import SMALL, Load
from tests.support.postgres_proxy import PostgresProxy
from tests.support.proxy import Proxy
from tests.support.services import Service, collector, processor, relay
from tests.support.target import ScriptedTarget

STARTS_WITHIN_S = 120.0
"""Longest time for the start of the six services, which share few cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerRun:
    """Result of a scenario.

    Attributes:
        dead: Number of dead letters of both flows.
        effect_gap_s: Longest time between two effects.
        delivery_gap_s: Longest time between two deliveries of emitted events.
        problems: Expectations that did not hold, besides the verdict of the checker.
    """

    scenario: HandlerScenario
    seed: int
    verdict: Verdict
    dead: int
    skipped: int
    effect_gap_s: float
    delivery_gap_s: float
    seconds: float
    remarks: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        if self.scenario.must_fail:
            return not self.verdict.is_sound
        return self.verdict.is_sound and not self.problems


async def run(scenario: HandlerScenario, broker: PrivateNode, *, seed: int) -> HandlerRun:
    """Run a scenario to its end, even if its fault raises an error."""
    started_s = time.monotonic()
    async with _opened(scenario, broker, seed) as world:
        problems = await happen(
            scenario.fault(world), world, at_least=scenario.at_least, deadline_s=scenario.deadline_s
        )
        if not await comes_to_rest(world, partial(_work, world), within_s=scenario.rest_within_s):
            problems.append(f"work was left after {scenario.rest_within_s:g} s")
        skipped = await world.duplicates_skipped()
        effect_gap_s = longest_gap_s(await world.effect_times_s())
        problems += await end(world)
        dead = await _dead_letters(world)
        verdict = check(await _account(world))
    problems += _broken_bounds(scenario, world, verdict, dead)
    return HandlerRun(
        scenario=scenario,
        seed=seed,
        verdict=verdict,
        dead=dead,
        skipped=skipped,
        effect_gap_s=effect_gap_s,
        delivery_gap_s=longest_gap_s([receipt.at_s for receipt in world.target.taken]),
        seconds=time.monotonic() - started_s,
        remarks=tuple(world.remarks),
        problems=tuple(problems),
    )


@asynccontextmanager
async def _opened(scenario: HandlerScenario, broker: PrivateNode, seed: int) -> AsyncIterator[HandlerWorld]:
    """Start everything and the load; stop everything at the end of the context."""
    dice = random.Random(f"{seed}/{scenario.name}")  # a scenario chooses the same alone and among all
    token = secrets.token_hex(4)
    flow, other_flow = f"c{token}", f"d{token}"
    async with AsyncExitStack() as stack:
        database = stack.enter_context(_server())
        await _make_tables(database.url)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        target = await stack.enter_async_context(ScriptedTarget())

        async def part_of(kind: str) -> Part:
            lines = (
                await stack.enter_async_context(Proxy(broker.url, dice=dice)),
                await stack.enter_async_context(PostgresProxy(database.url)),
            )
            service = _service(kind, scenario, flow, other_flow, broker_url=lines[0].url, database_url=lines[1].url)
            return Part(service=service, broker=lines[0], database=lines[1])

        taking = collector(broker.url, flow=flow, preloaded=False, COLLECTOR__CONFIRM_TIMEOUT_S="2")
        world = HandlerWorld(
            broker=broker,
            flow=flow,
            other_flow=other_flow,
            retry_delays_s=scenario.retry_delays_s,
            dice=dice,
            collector=taking,
            processors=(await part_of("processor"), await part_of("processor")),
            relays=(await part_of("relay"), await part_of("relay")),
            sender=processor(
                broker.url,
                flow=other_flow,
                target_url=target.url,
                preloaded=False,
                TARGET__RETRY_DELAYS_S=delays_text(scenario.retry_delays_s),
            ),
            target=target,
            load=Load(url=taking.url, rate_per_s=scenario.rate_per_s, bodies=(SMALL,), posts=scenario.posts),
            http=http,
            database=database,
        )
        for service in world.services:
            service.process.start()
            stack.callback(service.process.kill)
        for service in world.services:
            await service.ready(http, within_s=STARTS_WITHIN_S)
        stack.push_async_callback(world.load.stop)
        world.load.start()
        await sleep(QUEUES_SAFE_AFTER_S)
        yield world


@contextmanager
def _server() -> Iterator[PrivateServer]:
    with tempfile.TemporaryDirectory(prefix="eventflow-chaos-") as directory:
        Path(directory).chmod(0o711)  # root starts PostgreSQL as another user
        with running_server(Path(directory, "postgresql")) as database:
            yield database


async def _make_tables(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await DATABASE.migrate(connection)
            await connection.execute(EFFECTS)
    finally:
        await connection.close()


def _service(
    kind: str, scenario: HandlerScenario, flow: str, other_flow: str, *, broker_url: str, database_url: str
) -> Service:
    module = scenario.modules.get(kind, f"eventflow_{kind}")
    delays = delays_text(scenario.retry_delays_s)
    other = {f"FLOWS__{other_flow.upper()}__TARGET__RETRY_DELAYS_S": delays}
    if kind == "relay":
        settings = other | dict(scenario.relay)
        return relay(
            broker_url, database_url=database_url, flows=[other_flow], module=module, preloaded=False, **settings
        )
    database = {"HANDLER__DATABASE_URL": database_url}
    if scenario.has_sessions:
        database = {"HANDLER__SESSION": f"{FUNCTIONS}:{sessions.__name__}", SESSIONS_VARIABLE: database_url}
    return processor(
        broker_url,
        flow=flow,
        module=module,
        preloaded=False,
        HANDLER__CALL=f"{FUNCTIONS}:{scenario.call}",
        PROCESSOR__FLOWS=flow,
        TARGET__RETRY_DELAYS_S=delays,
        **other | database | dict(scenario.processor),
    )


async def _work(world: HandlerWorld) -> Work:
    async with world.amqp() as amqp:
        waiting = [
            await depth(amqp, queue)
            for flow in (world.flow, world.other_flow)
            for queue in work_queues(flow, world.retry_delays_s)
        ]
    effects, outbox = await world.effects(), await world.outbox()
    emitted = {receipt.id for receipt in world.target.taken}
    missing = world.load.accepted - effects.keys()
    unsent = {derived_id(event_id, 0) for event_id in effects} | world.put
    return Work(
        is_going_on=bool(sum(waiting) or outbox or await world.is_busy()), missing=len(missing) + len(unsent - emitted)
    )


async def _dead_letters(world: HandlerWorld) -> int:
    async with world.amqp() as amqp:
        return sum([await depth(amqp, dead_queue(flow)) for flow in (world.flow, world.other_flow)])


async def _account(world: HandlerWorld) -> Ledger:
    """Find all events. Deliveries that the processors held have returned to their queue, because these have ended."""
    async with world.amqp() as amqp:
        queues = {
            flow: [*work_queues(flow, world.retry_delays_s), dead_queue(flow)]
            for flow in (world.flow, world.other_flow)
        }
        unhandled, unsent = [await ids_in(amqp, queues[flow]) for flow in (world.flow, world.other_flow)]
        await amqp.delete(*queues[world.flow], *queues[world.other_flow])
    return Ledger(
        accepted=world.load.accepted,
        unaccepted=world.load.unaccepted.keys(),
        effects=await world.effects(),
        unhandled=unhandled,
        put=world.put,
        emitted=Counter(receipt.id for receipt in world.target.taken),
        unsent=unsent + await world.outbox(),
    )


def _broken_bounds(scenario: HandlerScenario, world: HandlerWorld, verdict: Verdict, dead: int) -> list[str]:
    problems = []
    if verdict.left:
        problems.append(f"{verdict.left} messages or rows were left, {dead} of them dead letters")
    if verdict.repeats_share > scenario.repeats_max:
        problems.append(f"{sum(verdict.repeats.values())} repeats of {verdict.emitted} emitted events")
    if set(world.load.refused) - {503}:
        problems.append(f"answers other than 202 and 503: {dict(world.load.refused)}")
    return problems
