"""From a turn to its settlement, with a target that answers at once: a task is created only for a wait."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from eventflow.control.overrides import Overrides
from eventflow.delivery import Delivery, Held
from eventflow.errors import DeliveryLostError
from eventflow.event import Event, utc_now
from eventflow.message import Envelope
from eventflow.outcome import Copied, DeadLetter, Delivered, Hold, Outcome, Retry
from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.tracers import NoTracer
from eventflow.topology import Lane
from eventflow_processor import turns
from eventflow_processor.attempt import AbandonedError, Attempted
from eventflow_processor.gate.gate import UNTIL_CHANGED_S, Gate
from eventflow_processor.gate.verdict import Pass
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observer import Observers
from eventflow_processor.observe.tracing import DeliveryTracing
from eventflow_processor.quota.quota import Quota
from eventflow_processor.retry import RetryPolicy
from eventflow_processor.target.feedback import Feedback
from eventflow_processor.target.port import Charge, OnResult
from eventflow_processor.target.port import Target as AnyTarget
from eventflow_processor.target.result import Errored, Failed, Result, Succeeded, Unsendable
from eventflow_processor.turn import Turn
from eventflow_processor.turns import GateClosedError, Turns
from tests.support.http_targets import CLIENTS, HttpTarget, target_at
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually


@dataclass
class Channel:
    """Settles at once, unless it is closed."""

    is_open: bool = True
    settled: list[str] = field(default_factory=list)

    def settle(self, tag: int, *, requeue: bool) -> None:
        if not self.is_open:
            raise DeliveryLostError("closed")
        self.settled.append("requeued" if requeue else "acked")

    def dead_letter(self, tag: int) -> None: ...


@dataclass
class Target:
    """Answers before `start` returns, or asks for a charge, or lets the test answer."""

    result: Result | None
    charges: bool = False
    on_result: OnResult = print
    sent_again: int = 0
    abandoned: int = 0
    fails: bool = False
    """Raises from `start` after its answer, and from `abandon`."""

    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> "Begun":
        self.on_result = on_result
        if self.charges:
            charge(self._send_again)
        elif self.result is not None:
            on_result(self.result)
        if self.fails and self.result is not None:
            raise RuntimeError("a bug")
        return Begun(self, on_result)

    def _send_again(self) -> None:
        self.sent_again += 1
        self.on_result(Succeeded(status=200))


@dataclass
class Begun:
    """An attempt, which holds on to its callback as those of a real target do."""

    target: Target
    on_result: OnResult

    def abandon(self) -> None:
        self.target.abandoned += 1
        if self.target.fails:
            raise RuntimeError("a bug")


class Copies:
    """Stands for the consumer: confirms every copy after a moment."""

    def __init__(self) -> None:
        self.published: list[Copied] = []

    async def settle(self, delivery: Delivery, outcome: Copied) -> Copied:
        self.published.append(outcome)
        await asyncio.sleep(0)
        delivery.ack()
        return outcome


@dataclass
class Stage:
    """The turns of a flow and their surroundings."""

    target: Target
    observe: Callable[[Attempted], None] = lambda _: None
    http: AnyTarget | None = None
    seen: list[Attempted] = field(default_factory=list)
    ended: list[Turn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = Channel()
        self.lanes = Lanes(due_share=0.5, replay_share=0.2)
        self.gate = Gate(flow="f", instance="i", max_retry_after_s=900, broadcast=lambda _: None)
        self.gate.apply_overrides(Overrides())
        self.errors = Counter("errors", "Errors", registry=CollectorRegistry())
        errors = InternalErrors(self.errors)
        self.copies = Copies()
        self.turns = Turns(
            lanes=self.lanes,
            gate=self.gate,
            quota=Quota(flow="f", instance="i", rate_per_s=None, burst=1, cost=1, broadcast=lambda _: None),
            target=self.http or self.target,
            policy=RetryPolicy(max_attempts=3, delays_s=(1, 5)),
            consumer=self.copies,  # type: ignore[arg-type]  # the part that turns use
            tracing=DeliveryTracing(NoTracer(), flow="f", target_url="http://t/", internal_errors=errors),
            observers=Observers([self, Recorder(self.seen)], flow="f", internal_errors=errors),
        )

    def attempted(self, attempted: Attempted) -> None:
        self.observe(attempted)

    def begin(self, entered: Pass = Pass.ATTEMPT) -> Turn:
        now, held = utc_now(), Held()
        event = Event(id="e", source="/", type="t", time=now, accepted_at=now, body=b"{}")
        delivery = Delivery(envelope=Envelope(event=event), lane=Lane.LIVE, channel=self.channel, tag=1, held=held)
        turn = Turn(delivery=delivery, entered=entered, on_end=self.ended.append)
        self.turns.begin(turn)
        return turn

    def probe(self) -> Pass:
        """Open the breaker and let a probe enter."""
        while not self.gate.is_breaker_open:
            for event_id in ("a", "b", "c"):
                self.gate.leave(event_id, Failed(reason="server_error", status=500), Pass.ATTEMPT)
        self.gate._breaker._probe_at_s = 0.0
        entered = self.gate.enter()
        assert entered is Pass.PROBE
        return entered

    @property
    def outcomes(self) -> list[Outcome | None]:
        return [attempted.outcome for attempted in self.seen]

    @property
    def counted_errors(self) -> float:
        return self.errors._value.get()


@dataclass
class Recorder:
    seen: list[Attempted]

    def attempted(self, attempted: Attempted) -> None:
        self.seen.append(attempted)


async def test_a_success_is_acked_within_its_callback() -> None:
    stage = Stage(Target(Succeeded(status=200)))
    tasks = asyncio.all_tasks()
    turn = stage.begin()
    assert asyncio.all_tasks() == tasks, "no task was made"
    assert stage.channel.settled == ["acked"]
    assert stage.outcomes == [Delivered()]
    assert stage.ended == [turn]
    assert not turn.is_in_flight


@pytest.mark.parametrize("is_quick", [True, False])
async def test_a_turn_that_has_ended_leaves_no_cycle_of_references(*, is_quick: bool) -> None:
    """Bodies can be large, and the search for cycles runs seldom."""
    result = Succeeded(status=200)
    stage = Stage(Target(result if is_quick else None))
    gc.collect()
    gc.disable()
    try:
        stage.begin()
        if not is_quick:
            stage.target.on_result(result)
        stage.target.on_result = print
        stage.ended.clear()
        stage.seen.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_a_failure_is_acked_when_its_copy_is_confirmed() -> None:
    stage = Stage(Target(Failed(reason="server_error", status=500)))
    turn = stage.begin()
    assert (stage.channel.settled, stage.ended, turn.is_in_flight) == ([], [], False)
    await eventually(lambda: stage.ended == [turn], what="the end")
    assert stage.channel.settled == ["acked"]
    assert isinstance(stage.outcomes[0], Retry)


async def test_a_delivery_whose_target_asks_to_wait_goes_back_to_its_lane() -> None:
    stage = Stage(Target(Failed(reason="throttled", status=429, asks_to_wait=True, feedback=Feedback(retry_after_s=1))))
    turn = stage.begin()
    assert stage.outcomes == [Hold()]
    assert stage.lanes.take() is turn.delivery
    assert stage.ended == [turn]


async def test_an_event_without_a_request_is_given_up_at_once_and_shows_nothing_about_the_target() -> None:
    stage = Stage(Target(Unsendable(text="the event has no subject")))
    turn = stage.begin(stage.probe())
    await eventually(lambda: turn.is_over, what="the end of the turn")
    (outcome,) = stage.copies.published
    assert isinstance(outcome, DeadLetter)
    assert outcome.envelope.failure is not None
    assert (outcome.envelope.failure.reason, outcome.envelope.failure.text) == (
        "unsendable",
        "the event has no subject",
    )
    assert stage.channel.settled == ["acked"]
    assert stage.gate.is_breaker_open, "the target is as unknown as before"
    assert turn.entered is None, "the pass of the probe is returned"


async def test_an_observer_that_raises_changes_nothing_and_is_counted() -> None:
    def raising(_: Attempted) -> None:
        raise RuntimeError("a bug")

    stage = Stage(Target(Succeeded(status=200)), observe=raising)
    with capture_logs() as lines:
        stage.begin()
    assert stage.channel.settled == ["acked"]
    assert stage.outcomes == [Delivered()], "the other observers see it"
    assert stage.counted_errors == 1
    assert [line["event"] for line in lines] == ["internal.error"]


async def test_an_ack_on_a_closed_channel_is_reported_as_lost() -> None:
    stage = Stage(Target(None))
    turn = stage.begin()
    stage.channel.is_open = False
    stage.target.on_result(Succeeded(status=200))
    assert stage.ended == [turn]
    assert [type(attempted.error) for attempted in stage.seen] == [DeliveryLostError]


async def test_an_error_of_our_own_requeues_the_delivery_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "CRASH_PAUSE_S", 0.01)
    error = RuntimeError("a bug")
    stage = Stage(Target(Errored(error=error)))
    with capture_logs():
        stage.begin()
        await eventually(lambda: len(stage.ended) == 1, what="the end")
    assert stage.channel.settled == ["requeued"]
    assert (stage.outcomes, stage.seen[0].error, stage.counted_errors) == ([None], error, 1)


async def test_a_repeated_request_is_sent_while_the_gate_is_open() -> None:
    stage = Stage(Target(None, charges=True))
    turn = stage.begin()
    await eventually(lambda: stage.ended == [turn], what="the end")
    assert (stage.target.sent_again, stage.target.abandoned, stage.outcomes) == (1, 0, [Delivered()])


async def test_a_request_that_may_not_be_repeated_ends_the_turn_and_keeps_its_place() -> None:
    stage = Stage(Target(None, charges=True))
    turn = stage.begin()
    stage.gate.apply_overrides(Overrides(is_paused=True))
    await eventually(lambda: stage.ended == [turn], what="the end")
    assert (stage.target.sent_again, stage.target.abandoned, stage.outcomes) == (0, 1, [None])
    assert isinstance(stage.seen[0].error, GateClosedError)
    assert stage.lanes.take() is turn.delivery
    assert stage.counted_errors == 0, "it is no error"


async def test_an_abandoned_turn_ends_once_and_a_late_result_changes_nothing() -> None:
    stage = Stage(Target(None))
    turn = stage.begin()
    stage.turns.abandon(turn)
    stage.target.on_result(Succeeded(status=200))
    stage.turns.abandon(turn)
    assert (stage.ended, stage.channel.settled) == ([turn], [])
    assert [type(attempted.error) for attempted in stage.seen] == [AbandonedError]


async def test_a_result_that_comes_twice_settles_once() -> None:
    stage = Stage(Target(None))
    turn = stage.begin()
    stage.target.on_result(Failed(reason="server_error", status=500))
    stage.target.on_result(Failed(reason="server_error", status=500))
    await eventually(lambda: stage.ended == [turn], what="the end")
    assert len(stage.copies.published) == 1
    assert len(stage.seen) == 1


async def test_an_error_after_the_answer_does_not_requeue_a_delivery_that_waits_for_its_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "CRASH_PAUSE_S", 0)
    asks = Failed(reason="throttled", status=429, asks_to_wait=True, feedback=Feedback(retry_after_s=1))
    stage = Stage(Target(asks, fails=True))
    with capture_logs():
        turn = stage.begin()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks)
    assert (stage.ended, stage.outcomes, stage.channel.settled) == ([turn], [Hold()], [])
    assert stage.counted_errors == 1


async def test_a_probe_that_cannot_even_be_abandoned_gives_its_pass_back() -> None:
    for give_up in (
        lambda stage, _: stage.target.on_result(Errored(error=RuntimeError("a bug"))),
        lambda stage, turn: stage.turns.abandon(turn),
    ):
        stage = Stage(Target(None, fails=True))
        entered = stage.probe()
        turn = stage.begin(entered)
        with capture_logs(), suppress(RuntimeError):
            give_up(stage, turn)
        assert stage.gate.is_open or stage.gate._closed_s() < UNTIL_CHANGED_S, "another probe may follow"


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_turn_is_freed_at_its_end_and_not_by_the_garbage_collector(client: type[HttpTarget]) -> None:
    """A thousand bodies of events waited for the collector, which runs seldom (`lifecycle.GC_THRESHOLDS`)."""
    async with (
        ScriptedTarget(answer=lambda _: 200) as scripted,
        target_at(client, scripted.url) as http,
    ):
        stage = Stage(Target(None), http=http)
        gc.collect()
        gc.disable()
        try:
            stage.begin()
            await eventually(lambda: len(stage.ended) == 1, what="the end")
            stage.ended.clear()
            stage.seen.clear()
            await asyncio.sleep(0)
            assert not [kept for kept in gc.get_objects() if isinstance(kept, Turn)]
        finally:
            gc.enable()
