"""Errors of our own: whatever raises while a delivery is in hand, none is held afterwards and the next is served.

The processor's parts run inside the test, wired as `eventflow-processor` wires them, since an error has to be raised
from their calls. Broker and target are real, and what is looked at is what they see.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from structlog.testing import capture_logs

from eventflow.amqp.presence import Presence
from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.shared import SharedConnection
from eventflow.control.bus import ControlBus
from eventflow.control.overrides import Overrides
from eventflow.delivery import Delivery
from eventflow.errors import BrokerUnavailableError
from eventflow.message import Message
from eventflow.settings.load import load
from eventflow.telemetry.tracers import tracer_for
from eventflow.topology import CONTROL_EXCHANGE, Lane, dead_queue, flow_specs, lane_queue, retry_queue
from eventflow_processor import dispatcher, turns
from eventflow_processor.__main__ import run_until
from eventflow_processor.dispatcher import Dispatcher
from eventflow_processor.flow import Flow, Shared, wire_flow
from eventflow_processor.gate import error_streak
from eventflow_processor.observe.metrics import ProcessorMetrics
from eventflow_processor.target.aiohttp_client import AiohttpTarget
from eventflow_processor.target.lean.client import LeanTarget
from eventflow_processor.target.lean.connection import Connection
from eventflow_processor.turns import Turns
from tests.integration.test_processor import message
from tests.support.amqp import Amqp
from tests.support.injector import Injector
from tests.support.target import Receipt, ScriptedTarget
from tests.support.wait import eventually

pytestmark = [
    # An injected error can leave a coroutine that was made and never begun.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Injected errors leave connections unclosed. Let their warnings come here, where they are ignored."""
    yield
    gc.collect()


INSIDE = (
    Dispatcher._begin_next,
    Turns.begin,
    AiohttpTarget._attempt,
    LeanTarget._send_on_new,
    Connection.buffer_updated,
    Connection.connection_lost,
    Turns._on_result,
    turns._guarded,  # tasks of a turn: settlements that wait, repeated requests, errors of our own
)
CLIENTS = ["lean", "aiohttp"]
OURS = ("eventflow", "eventflow_processor")
DELAY_S = 0.05
EVENTS = 250
"""More than a turn has calls, if each has one turn; those that fail first have three."""


@asynccontextmanager
async def running(
    broker_url: str,
    flow: str,
    target_url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    max_attempts: int = 2,
    client: str = "lean",
) -> AsyncIterator[Flow]:
    """Run a processor of one flow in this process."""
    prefix = f"EVENTFLOW_FLOWS__{flow.upper()}__TARGET__"
    for name, value in {
        "EVENTFLOW_BROKER__URL": broker_url,
        f"{prefix}URL": target_url,
        f"{prefix}RETRY_DELAYS_S": str(DELAY_S),
        f"{prefix}MAX_ATTEMPTS": str(max_attempts),
        f"{prefix}CLIENT": client,
        f"{prefix}TIMEOUT_S": "0.5",  # the last guard of an attempt whose callbacks fail
        f"{prefix}CONCURRENCY": "1",  # one turn after the other; a slot that is lost stops the flow
    }.items():
        monkeypatch.setenv(name, value)
    for module in (dispatcher, turns):
        monkeypatch.setattr(module, "CRASH_PAUSE_S", 0.01)
    for pause in ("TRY_PAUSE_MIN_S", "TRY_PAUSE_MAX_S"):  # turn after turn fails, so the flow is blocked all the time
        monkeypatch.setattr(error_streak, pause, 0.01)
    settings, metrics, stop = load(), ProcessorMetrics(), asyncio.Event()
    urls = settings.broker.urls
    publisher = Publisher(urls, specs=flow_specs(flow, (DELAY_S,)), name="guarded", fanouts=[CONTROL_EXCHANGE])
    control = ControlBus(urls, instance=f"guarded-{flow}", publisher=publisher)
    async with AsyncExitStack() as stack:
        stack.enter_context(capture_logs())  # hundreds of tracebacks, which nothing here reads
        shared = Shared(
            settings=settings,
            publisher=publisher,
            control=control,
            metrics=metrics,
            tracer=tracer_for("test"),
            presence=Presence(lambda _: None),
        )
        connection = SharedConnection(urls, name="guarded")
        parts = await wire_flow(flow, settings.all_flows[flow], shared, stack, seat=connection.seat(name="guarded"))
        task = asyncio.create_task(run_until(stop, [parts], shared, [connection]))
        await eventually(lambda: parts.consumer.is_consuming and parts.gate.is_open, what="a processor that consumes")
        yield parts
        stop.set()
        await task


async def fail_each_call(
    parts: Flow, amqp: Amqp, flow: str, is_done: Callable[[set[str]], bool], *, events: int = EVENTS
) -> None:
    """Let each call of a turn fail once, one in each of as many turns, and wait until all events are done."""
    ids = {f"{number}-{flow}" for number in range(events)}
    with Injector(inside=INSIDE, packages=OURS, turn=Turns.begin) as injector:
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(event_id) for event_id in sorted(ids)))
        await eventually(
            lambda: is_done(ids) and parts.consumer.held == 0,
            within_s=60,
            what=lambda: f"all done and nothing held; failed: {len(injector.failed)} {injector.failed[-1:]}",
        )
    assert injector.is_complete, f"{injector.failed} were not all calls of a turn"


@pytest.mark.parametrize("client", CLIENTS)
async def test_no_call_that_fails_holds_a_delivery_that_the_target_takes(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """Reproduced on 0.1.0: an error in tracing, metrics or the quota left its delivery and its slot taken for good."""
    await amqp.declare_flow(flow, (DELAY_S,))
    async with ScriptedTarget() as target, running(broker_url, flow, target.url, monkeypatch, client=client) as parts:
        await fail_each_call(parts, amqp, flow, lambda ids: ids == target.ids)
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == 0


@pytest.mark.parametrize("client", CLIENTS)
async def test_no_call_that_fails_holds_a_delivery_that_is_copied(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """Through a retry and into the dead queue: nothing is settled before its copy is safe, and nothing is held."""
    await amqp.declare_flow(flow, (DELAY_S,))
    async with ScriptedTarget() as target, running(broker_url, flow, target.url, monkeypatch, client=client) as parts:
        target.answer = lambda _: 422
        await fail_each_call(
            parts,
            amqp,
            flow,
            lambda ids: all(target.of(event_id)[-1:] and target.of(event_id)[-1].attempt == 2 for event_id in ids),
        )

        async def at_rest() -> bool:
            left = [await amqp.depth(queue) for queue in (lane_queue(flow, Lane.DUE), retry_queue(flow, DELAY_S))]
            return not any(left) and parts.consumer.held == 0

        await eventually(at_rest, what="no work left")
    dead = {str(letter.headers["cloudEvents:id"]) for letter in await amqp.drain(dead_queue(flow))}
    assert dead == target.ids
    assert len(dead) == EVENTS


@pytest.mark.parametrize("client", CLIENTS)
async def test_no_call_that_fails_holds_a_probe(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """Reproduced on 0.1.0: an exception between the entry of a probe and its end stopped the flow in all processors."""
    await amqp.declare_flow(flow, (DELAY_S,))
    monkeypatch.setattr("eventflow_processor.gate.breaker.PROBE_PAUSE_MIN_S", 0.0)
    monkeypatch.setattr("eventflow_processor.gate.breaker.PROBE_PAUSE_MAX_S", 0.0)
    async with (
        ScriptedTarget() as target,
        running(broker_url, flow, target.url, monkeypatch, max_attempts=100, client=client) as parts,
    ):

        def answer(receipt: Receipt) -> int:
            return 200 if len(target.of(receipt.id)) > 2 else 503

        target.answer = answer  # most turns are probes, and all of them fail before they succeed
        await fail_each_call(
            parts, amqp, flow, lambda ids: all(len(target.of(event_id)) > 2 for event_id in ids), events=EVENTS // 3
        )
    assert await amqp.depth(dead_queue(flow)) == 0


class Hanging:
    """An attempt that never has a result."""

    def abandon(self) -> None: ...


def hang(*_: object, **__: object) -> Hanging:
    """Stand for a bug that no guard foresees: a delivery that is taken and never settled."""
    return Hanging()


async def test_a_delivery_that_nothing_settles_is_given_up_and_comes_again(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reproduced on 0.1.0: 50 of 1 500 deliveries stayed unsettled for good, and the processor said it was ready."""
    monkeypatch.setattr("eventflow_processor.flow.held_max_s", lambda _: 1.0)
    await amqp.declare_flow(flow, (DELAY_S,))
    async with ScriptedTarget() as target, running(broker_url, flow, target.url, monkeypatch) as parts:
        with monkeypatch.context() as bug:
            bug.setattr(LeanTarget, "start", hang)
            await amqp.publish(lane_queue(flow, Lane.LIVE), message("forgotten"), message("behind-it"))
            await eventually(lambda: parts.consumer.held == 2, what="both events held")
        await eventually(lambda: target.ids == {"forgotten", "behind-it"}, what="both delivered through the only slot")
        await eventually(lambda: parts.consumer.held == 0, what="nothing held")


async def test_a_confirm_that_comes_after_its_turn_was_given_up_acks_nothing(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task was cancelled, its delivery has come again, and its slot is free once."""
    monkeypatch.setattr("eventflow_processor.flow.held_max_s", lambda _: 1.0)
    await amqp.declare_flow(flow, (DELAY_S,))
    unconfirmed: list[Publication] = []

    def publish(_: Publisher, sent: Message, *, queue: str) -> Publication:
        unconfirmed.append(Publication(sent, queue))
        return unconfirmed[-1]

    async with ScriptedTarget() as target, running(broker_url, flow, target.url, monkeypatch) as parts:
        target.answer = lambda _: 422
        settled: list[Delivery] = []
        with monkeypatch.context() as bug:
            bug.setattr(Publisher, "publish", publish)
            bug.setattr(Delivery, "ack", settled.append)
            await amqp.publish(lane_queue(flow, Lane.LIVE), message("e"))
            await eventually(lambda: len(unconfirmed) >= 2, what="a second turn, after the first was given up")
            unconfirmed[0].resolve()
            await asyncio.sleep(0.2)
            assert settled == []
        target.answer = lambda _: 200
        for publication in unconfirmed[1:]:
            publication.resolve(BrokerUnavailableError("no confirm"))

        async def at_rest() -> bool:
            left = [await amqp.depth(queue) for queue in (lane_queue(flow, Lane.DUE), retry_queue(flow, DELAY_S))]
            return not any(left) and parts.consumer.held == 0

        await eventually(at_rest, what="nothing held")
        await eventually(
            lambda: len(target.receipts) == len(unconfirmed) + 1, what="the next attempt, through the only slot"
        )
        await eventually(lambda: not parts.dispatcher._begun, what="the only slot free, and no other")


async def test_a_processor_whose_slots_are_taken_for_good_says_that_it_stands_still(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reproduced on 0.1.0: with 15 of 20 slots dead /readyz answered 200 throughout."""
    monkeypatch.setattr(dispatcher, "STANDSTILL_S", 0.2)
    monkeypatch.setenv(f"EVENTFLOW_FLOWS__{flow.upper()}__TARGET__TIMEOUT_S", "0.2")
    monkeypatch.setattr(LeanTarget, "start", hang)
    await amqp.declare_flow(flow, (DELAY_S,))
    async with ScriptedTarget() as target, running(broker_url, flow, target.url, monkeypatch) as parts:
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("1"), message("2"))
        await eventually(lambda: parts.dispatcher.standstill() is not None, what="a standstill")
        assert "all 1 slots have been taken" in (parts.dispatcher.standstill() or "")


async def test_a_processor_that_is_paused_does_not_stand_still(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's pause is no standstill, however long."""
    monkeypatch.setattr(dispatcher, "STANDSTILL_S", 0.2)
    await amqp.declare_flow(flow, (DELAY_S,))
    async with ScriptedTarget() as target, running(broker_url, flow, target.url, monkeypatch) as parts:
        parts.gate.apply_overrides(Overrides(is_paused=True))
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("1"))
        await eventually(lambda: parts.consumer.held == 1, what="the event held")
        await asyncio.sleep(1)
        assert parts.dispatcher.standstill() is None
        parts.gate.apply_overrides(Overrides())
        await eventually(lambda: target.ids == {"1"}, what="the event delivered")
