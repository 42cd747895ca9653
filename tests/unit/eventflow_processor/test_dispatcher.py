"""Turns begin one after the other while nothing has to wait, and the rest of the event loop has its share."""

import asyncio
from collections import Counter as Counts
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import pytest
from prometheus_client import CollectorRegistry, Counter

from eventflow.clock import lease_clock
from eventflow.control.overrides import Overrides
from eventflow.delivery import Delivery, Held
from eventflow.handling.transactions.port import Database
from eventflow.message import Envelope
from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.tracers import NoTracer
from eventflow.topology import Lane
from eventflow_processor.dispatcher import TURNS_IN_A_ROW, Dispatcher
from eventflow_processor.gate.gate import Gate
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observer import Observers
from eventflow_processor.observe.tracing import DeliveryTracing
from eventflow_processor.quota.quota import Quota
from eventflow_processor.quota.roster import APART_S
from eventflow_processor.retry import RetryPolicy
from eventflow_processor.target import port
from eventflow_processor.target.function.target import FunctionTarget
from eventflow_processor.target.oauth2.grant import Token
from eventflow_processor.target.oauth2.target import AuthorizedTarget
from eventflow_processor.target.oauth2.tokens import Tokens
from eventflow_processor.target.port import Charge, OnResult
from eventflow_processor.target.request import Bearer
from eventflow_processor.target.result import Failed, Result, Succeeded
from eventflow_processor.turns import Turns
from tests.support.attempts import OpenChannel, envelope
from tests.support.wait import eventually

pytestmark = pytest.mark.virtual_time

SUCCESS = Succeeded(status=200)


class Begun:
    """An attempt that needs no end."""

    def abandon(self) -> None: ...


@dataclass
class Target:
    """Answers at once, or at a call of the test."""

    is_quick: bool = True
    started: list[str] = field(default_factory=list)
    waiting: list[OnResult] = field(default_factory=list)
    on_start: Callable[[], None] = lambda: None

    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> Begun:
        self.started.append(envelope.event.id)
        self.on_start()
        if self.is_quick:
            on_result(SUCCESS)
        else:
            self.waiting.append(on_result)
        return Begun()

    def answer(self, result: Result = SUCCESS) -> None:
        self.waiting.pop(0)(result)


Around = Callable[[Target, Callable[[bool], None]], port.Target]
"""Puts another target around one, which gets to know when the other one is awaited."""


@dataclass
class Stage:
    """A dispatcher and all that it starts."""

    target: Target
    rate_per_s: float | None = None
    concurrency: int = 4
    around: Around = lambda target, _: target
    held: Held = field(default_factory=Held)

    def __post_init__(self) -> None:
        self.lanes = Lanes(due_share=0.5, replay_share=0.2)
        self.gate = Gate(flow="f", instance="i", max_retry_after_s=900, broadcast=lambda _: None)
        self.gate.apply_overrides(Overrides())
        self.quota = Quota(
            flow="f", instance="i", rate_per_s=self.rate_per_s, burst=1, cost=1, broadcast=lambda _: None
        )
        self.quota.joined()
        for began_s in (lease_clock(), lease_clock() + APART_S):  # alone at both
            self.quota.consumers_counted(1, began_s=began_s)
        self.errors = Counter("errors", "Errors", registry=CollectorRegistry())
        errors = InternalErrors(self.errors)
        observers = Observers([], flow="f", internal_errors=errors)
        turns = Turns(
            lanes=self.lanes,
            gate=self.gate,
            quota=self.quota,
            target=self.around(self.target, self.gate.target_awaited),
            policy=RetryPolicy(max_attempts=3, delays_s=(1, 5)),
            consumer=None,  # type: ignore[arg-type]  # nothing is copied here
            tracing=DeliveryTracing(NoTracer(), flow="f", target_url="http://t/", internal_errors=errors),
            observers=observers,
        )
        self.dispatcher = Dispatcher(
            flow="f",
            lanes=self.lanes,
            gate=self.gate,
            quota=self.quota,
            turns=turns,
            observers=observers,
            concurrency=self.concurrency,
            attempt_max_s=5,
            held_max_s=100,
        )

    def put(self, count: int, lane: Lane = Lane.LIVE) -> None:
        for number in range(len(self.held), len(self.held) + count):
            one = envelope(f"{lane.value}-{number}")
            self.lanes.put(Delivery(envelope=one, lane=lane, channel=OpenChannel(), tag=number, held=self.held))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.dispatcher.run())
        yield
        task.cancel()
        await asyncio.wait({task})


async def test_a_target_that_answers_at_once_adds_no_recursion() -> None:
    """The end of a turn frees its slot: if the next turn began there, the stack would grow with each event."""
    stage = Stage(Target(), concurrency=1)
    stage.put(5_000)
    async with stage.running():
        await eventually(lambda: not stage.held, what="all delivered")
    assert len(stage.target.started) == 5_000
    assert stage.errors._value.get() == 0


async def test_others_run_between_turns_that_never_wait() -> None:
    stage = Stage(Target())
    stage.put(TURNS_IN_A_ROW * 10)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while stage.held:
            ticks += 1
            turns_of_tick[ticks] = 0
            await asyncio.sleep(0)

    turns_of_tick: Counts[int] = Counts()

    def count() -> None:
        turns_of_tick[ticks] += 1

    stage.target.on_start = count
    async with stage.running(), asyncio.timeout(5):
        await tick()
    assert max(turns_of_tick.values()) <= TURNS_IN_A_ROW


async def test_a_slot_is_free_again_when_its_turn_ends() -> None:
    stage = Stage(Target(is_quick=False), concurrency=3)
    stage.put(5)
    async with stage.running():
        await eventually(lambda: len(stage.target.started) == 3, what="a turn for each slot")
        await asyncio.sleep(0.01)
        assert (len(stage.target.started), stage.dispatcher.in_flight) == (3, 3)
        stage.target.answer()
        stage.target.answer()
        await eventually(lambda: len(stage.target.started) == 5, what="the others")
        assert stage.dispatcher.in_flight == 3


async def test_the_delivery_is_picked_after_the_wait_for_the_quota() -> None:
    """A retry that arrives during the wait goes first."""
    stage = Stage(Target(), rate_per_s=20)
    stage.put(1)
    async with stage.running():
        await asyncio.sleep(0.01)
        assert stage.target.started == [], "the bucket starts empty"
        stage.put(1, Lane.DUE)
        await eventually(lambda: len(stage.target.started) == 2, what="both")
    assert stage.target.started == ["due-1", "events-0"]


async def test_a_pause_during_the_wait_for_the_quota_stops_the_turn() -> None:
    stage = Stage(Target(), rate_per_s=20)
    stage.put(1)
    async with stage.running():
        await asyncio.sleep(0.01)
        stage.gate.apply_overrides(Overrides(is_paused=True))
        await asyncio.sleep(0.1)
        assert stage.target.started == []
        stage.gate.apply_overrides(Overrides())
        await eventually(lambda: len(stage.target.started) == 1, what="the turn")


async def test_deliveries_that_can_no_longer_be_settled_begin_no_turn() -> None:
    stage = Stage(Target())
    stage.put(3)
    stage.held.clear()
    async with stage.running():
        await asyncio.sleep(0.01)
        stage.put(1)
        await eventually(lambda: not stage.held, what="the next one delivered")
    assert stage.target.started == ["events-0"]


async def test_a_drain_requeues_a_delivery_whose_target_asks_to_wait_meanwhile() -> None:
    """Otherwise the stop would wait 2 s for its settlement in vain."""
    stage = Stage(Target(is_quick=False))
    stage.put(1)
    async with stage.running():
        await eventually(lambda: bool(stage.target.waiting), what="an attempt in flight")
    draining = asyncio.create_task(stage.dispatcher.drain(timeout_s=5))
    await asyncio.sleep(1)
    stage.target.answer(Failed(reason="throttled", status=429, asks_to_wait=True))
    await draining
    assert not stage.held


async def test_a_drain_abandons_every_late_turn_also_after_an_error_in_one() -> None:
    abandoned = 0

    class Stuck(Begun):
        def abandon(self) -> None:
            nonlocal abandoned
            abandoned += 1
            raise RuntimeError("a bug")

    class StuckTarget(Target):
        def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> Begun:
            super().start(envelope, charge=charge, on_result=on_result)
            return Stuck()

    stage = Stage(StuckTarget(is_quick=False))
    stage.put(3)
    async with stage.running():
        await eventually(lambda: len(stage.target.started) == 3, what="three attempts in flight")
    await stage.dispatcher.drain(timeout_s=0.0)
    assert (abandoned, stage.dispatcher.in_flight, stage.errors._value.get()) == (3, 0, 3)


AWAITED_S = 5.0


def after_a_token(target: Target, on_awaited: Callable[[bool], None]) -> port.Target:
    async def fetch() -> Token:
        await asyncio.sleep(AWAITED_S)
        return Token(value="t", lifetime_s=3600)

    tokens = Tokens(fetch, flow="f", bearer=Bearer(), hide=lambda _: None, on_awaited=on_awaited)
    return AuthorizedTarget(target, tokens)


def after_a_check_of_the_database(target: Target, on_awaited: Callable[[bool], None]) -> port.Target:
    class Call(Begun):
        def __init__(self, envelope: Envelope, on_result: OnResult) -> None:
            self.begin_at = partial(target.start, envelope, charge=lambda _: None, on_result=on_result)

        def begin(self) -> "asyncio.Future[None]":
            self.begin_at()
            ended = asyncio.get_running_loop().create_future()
            ended.set_result(None)
            return ended

    class SlowDatabase:
        async def require(self) -> None:
            await asyncio.sleep(AWAITED_S)

    database = cast("Database", SlowDatabase())
    return FunctionTarget(Call, flow="f", database=database, on_awaited=on_awaited)


@pytest.mark.parametrize("around", [after_a_token, after_a_check_of_the_database])
async def test_the_quota_of_a_time_in_which_the_target_was_awaited_is_not_used_after_it(around: Around) -> None:
    """Otherwise all attempts of 5 s would be made in the same tick."""
    stage = Stage(Target(), rate_per_s=20, concurrency=200, around=around)
    stage.put(200)
    async with stage.running():
        await asyncio.sleep(AWAITED_S + 0.1)
        assert 1 <= len(stage.target.started) <= 3
        await asyncio.sleep(1)
        assert 20 <= len(stage.target.started) <= 24
