"""From a turn to its outcome: one attempt, the decision that follows from it, and the settlement.

It works by callbacks: a delivery that the target takes is acked within the callback of its result, and a task is made
only when something has to wait, such as a copy for its confirm. Each callback and each task has a guard. An error in it
is our own: it counts as no attempt, and the delivery goes back to its queue, or to a delay queue if it is not the first
error of its event.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, assert_never

import structlog

from eventflow.amqp.consumer import Consumer
from eventflow.delivery import Delivery
from eventflow.errors import DeliveryLostError, EventFlowError
from eventflow.event import utc_now
from eventflow.outcome import Copied, DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow.telemetry.logging import shown_id
from eventflow_processor.attempt import NO_SPANS, AbandonedError, Attempted, Spans
from eventflow_processor.gate.gate import Gate
from eventflow_processor.gate.verdict import Pass
from eventflow_processor.lanes import Schedule
from eventflow_processor.observe.observer import Observers
from eventflow_processor.observe.tracing import DeliveryTracing
from eventflow_processor.quota.quota import Quota
from eventflow_processor.retry import CRASH_PAUSE_S, REPEAT_WAIT_MAX_S, Ending, RetryPolicy, decide
from eventflow_processor.target.port import Attempt, Target
from eventflow_processor.target.result import Errored, Failed, Judged, Result, Succeeded

_NO_LOG_CONTEXT = nullcontext()

log = structlog.stdlib.get_logger()


class GateClosedError(EventFlowError):
    """A request could not be repeated: the gate has closed, or the quota had no room in time."""


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """One attempt of a delivery from its start to its settlement.

    Attributes:
        entered: How the gate let it through; None once the gate has its pass back.
        on_end: Called once, when the turn holds nothing any more.
        attempt: The attempt at the target; None until it has begun.
        waiting: The task of whatever the turn waits for beside the target.
        result: How the request ended; None until then.
        ended_s: When it did, or when an error of our own ended the attempt.
        is_over: Whether `on_end` has been called, so that nothing may happen any more.
    """

    delivery: Delivery
    entered: Pass | None
    on_end: "Callable[[Turn], None]"
    spans: Spans = NO_SPANS
    started_at_ns: int = field(default_factory=time.time_ns)
    started_s: float = field(default_factory=time.monotonic)
    attempt: Attempt | None = None
    waiting: asyncio.Task[None] | None = None
    result: Result | None = None
    ended_s: float | None = None
    is_over: bool = False

    @property
    def is_in_flight(self) -> bool:
        """Whether the attempt has not ended yet."""
        return self.ended_s is None

    def end_attempt(self) -> float:
        """Note that the attempt ends now, if it has not ended before; return when it did."""
        if self.ended_s is None:
            self.ended_s = time.monotonic()
        return self.ended_s

    def finished(self, outcome: Outcome | None, error: Exception | None) -> Attempted:
        """Describe the attempt, whose delivery has just been settled or is lost."""
        answered_s = self.end_attempt()
        return Attempted(
            delivery=self.delivery,
            result=self.result,
            outcome=outcome,
            error=error,
            spans=self.spans,
            started_at_ns=self.started_at_ns,
            duration_s=answered_s - self.started_s,
            settlement_s=time.monotonic() - answered_s,
        )


class Handler:
    """Handles the turns of one flow."""

    def __init__(
        self,
        *,
        schedule: Schedule,
        gate: Gate,
        quota: Quota,
        target: Target,
        policy: RetryPolicy,
        consumer: Consumer,
        tracing: DeliveryTracing,
        observers: Observers,
    ) -> None:
        """Wire one flow; `schedule` gets back the deliveries that are held in memory."""
        self._schedule = schedule
        self._gate = gate
        self._quota = quota
        self._spending = asyncio.Lock()
        self._target = target
        self._policy = policy
        self._consumer = consumer
        self._tracing = tracing
        self._observers = observers

    async def spend(self) -> None:
        """Wait for one attempt's quota; one caller after the other, in the order of their calls."""
        async with self._spending:
            await self._quota.acquire()

    def begin(self, turn: Turn) -> None:
        """Begin the attempt. From here on the turn goes on by itself, until `on_end` is called.

        Guarantee: raises nothing, and when the turn has ended, the gate has its pass back. Its delivery is settled, or
        waits in the schedule, or the broker has it back.
        """
        delivery = turn.delivery
        delivery.attempts_here += 1
        try:
            turn.spans = self._tracing.begin(delivery)
            # Lines that others log in this turn name the event too, if it has a trace to be found by.
            with _log_context(turn):
                attempt = self._target.start(
                    turn.spans.continued_by(delivery.envelope),
                    charge=partial(self._charge, turn),
                    on_result=partial(self._on_result, turn),
                )
            if not turn.is_over:
                turn.attempt = attempt
        except Exception as error:  # noqa: BLE001 - a guard: a bug costs a repetition, never the event
            self._fail(turn, error)

    def release(self, entered: Pass | None) -> None:
        """Give the gate back the pass of an attempt that says nothing about the target."""
        if entered is Pass.PROBE:
            self._gate.abandon_probe()

    def abandon(self, turn: Turn) -> None:
        """End a turn as it is. Its delivery stays unsettled, so the broker requeues it when the channel closes."""
        if turn.attempt is not None:
            turn.attempt.abandon()
        if turn.waiting is not None:
            turn.waiting.cancel()
        self._end(turn, None, AbandonedError("the turn was abandoned"))

    def _on_result(self, turn: Turn, result: Result) -> None:
        if turn.is_over:
            return
        try:
            turn.result = result
            turn.end_attempt()
            match result:
                case Succeeded() | Failed():
                    self._settle(turn, self._decide(turn, result))
                case Errored(error=error):
                    self._fail(turn, error)
                case _:
                    assert_never(result)
        except Exception as error:  # noqa: BLE001 - a guard, as in `begin`
            self._fail(turn, error)

    def _decide(self, turn: Turn, result: Judged) -> Outcome:
        """Learn from a result, and decide what becomes of its delivery."""
        delivery = turn.delivery
        no_room_s = self._quota.learn(result, sent_s=turn.started_s)
        entered = turn.entered or Pass.ATTEMPT
        verdict = self._gate.leave(delivery.envelope.event.id, result, entered, no_room_s=no_room_s)
        turn.entered = None  # the gate has it back
        ending = Ending(
            result=result,
            verdict=verdict,
            pause_s=self._gate.pause_s,
            at=utc_now(),
            dice=random.random(),  # noqa: S311
            traceparent=turn.spans.linkable,
        )
        return decide(delivery.envelope, ending, self._policy)

    def _settle(self, turn: Turn, outcome: Outcome) -> None:
        match outcome:
            case Delivered():
                try:
                    turn.delivery.ack()
                except DeliveryLostError as error:
                    self._end(turn, None, error)
                else:
                    self._end(turn, outcome)
            case Hold():
                self._end(turn, outcome)
            case Retry() | Defer() | DeadLetter():
                self._wait_for(turn, self._copy(turn, outcome), on_error=self._fail)
            case _:
                assert_never(outcome)

    async def _copy(self, turn: Turn, outcome: Copied) -> None:
        try:
            settled = await self._consumer.settle(turn.delivery, outcome)
        except DeliveryLostError as error:
            self._end(turn, None, error)
        else:
            self._end(turn, settled)

    def _charge(self, turn: Turn, send: Callable[[], None]) -> None:
        """Let a request be repeated as any other begins: if the quota allows it in time, and the gate is open."""
        self._wait_for(turn, self._send_again(turn, send), on_error=self._fail)

    async def _send_again(self, turn: Turn, send: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(REPEAT_WAIT_MAX_S):
                await self.spend()
        except TimeoutError:
            why_not = "the quota had no room for a repeated request"
        else:
            if turn.entered is None or self._gate.is_open_to(turn.entered):
                send()
                return
            why_not = "the gate has closed before the request could be repeated"
        if turn.attempt is not None:
            turn.attempt.abandon()
        self._end(turn, None, GateClosedError(why_not))

    def _end(self, turn: Turn, outcome: Outcome | None, error: Exception | None = None) -> None:
        """End the turn.

        Args:
            outcome: What became of the delivery; None if it was not settled.
            error: Why it was not, or the error of our own that its outcome follows from.
        """
        if turn.is_over:
            return
        self._give_back_pass(turn)
        self._observers.attempted(turn.finished(outcome, error))
        if error is None or isinstance(error, DeliveryLostError):
            self._gate.ended_well()
        if isinstance(outcome, Hold) or isinstance(error, GateClosedError):
            self._schedule.put_first(turn.delivery)  # so late, since its next turn can begin from here on
        turn.on_end(turn)
        turn.is_over = True  # so late: if any of this fails, the turn fails, and is ended again
        # The attempt refers to the turn. Without this the event would stay in memory until a search for such cycles.
        turn.attempt = turn.waiting = None

    def _fail(self, turn: Turn, error: Exception) -> None:
        """Let a delivery come again after an error of our own, with the attempts that it had."""
        try:
            self._observers.note_error(error, where="delivery", delivery=turn.delivery)
            turn.end_attempt()
            if turn.attempt is not None:
                turn.attempt.abandon()
            self._give_back_pass(turn)
            # At once, and not in the task: the gate must close before the next turn begins.
            times = self._gate.failed_ourselves(turn.delivery.envelope.event.id, error)
            self._wait_for(turn, self._put_off(turn, error, times), on_error=self._drop)
        except Exception as another:  # noqa: BLE001 - the guard's own guard
            self._drop(turn, another)

    async def _put_off(self, turn: Turn, error: Exception, times: int) -> None:
        """Requeue a delivery after a pause, or move it to a delay queue if its event has met more than one such error.

        It waits there longer each time, since it must take no quota and no slots from others.
        """
        delivery, outcome = turn.delivery, None
        try:
            if times > 1:
                defer = Defer(delay_s=self._policy.delay_s(times - 1, dice=0.0))
                outcome = await self._consumer.settle(delivery, defer)
        except DeliveryLostError:
            pass  # the broker has it already
        except Exception as another:  # noqa: BLE001 - it can still be requeued
            self._observers.note_error(another, where="delivery", delivery=delivery)
        if delivery.is_current:
            await asyncio.sleep(CRASH_PAUSE_S)  # it comes again at once, and will most likely fail again
            with suppress(DeliveryLostError):
                delivery.requeue()
        self._end(turn, outcome, error)

    def _drop(self, turn: Turn, error: Exception) -> None:
        """End a turn whose guard has failed too. Its delivery is stuck, and comes again when its session is ended."""
        self._observers.note_error(error, where="guard", delivery=turn.delivery)
        log.error("delivery.unguarded", event_id=shown_id(turn.delivery.envelope.event.id), error=repr(error))
        turn.on_end(turn)
        turn.is_over = True

    def _give_back_pass(self, turn: Turn) -> None:
        entered, turn.entered = turn.entered, None
        self.release(entered)

    def _wait_for(
        self, turn: Turn, waiting: Coroutine[Any, Any, None], *, on_error: Callable[[Turn, Exception], None]
    ) -> None:
        """Let a task do what has to wait."""
        turn.waiting = asyncio.create_task(_guarded(turn, waiting, on_error))


async def _guarded(turn: Turn, waiting: Coroutine[Any, Any, None], on_error: Callable[[Turn, Exception], None]) -> None:
    try:
        await waiting
    except Exception as error:  # noqa: BLE001 - a guard, as in `Handler.begin`
        on_error(turn, error)


def _log_context(turn: Turn) -> AbstractContextManager[object]:
    if turn.spans.trace_id is None:
        return _NO_LOG_CONTEXT
    return structlog.contextvars.bound_contextvars(
        trace_id=turn.spans.trace_id, event_id=shown_id(turn.delivery.envelope.event.id)
    )
