"""From a turn to its outcome: one attempt, the decision that follows from it, and the settlement.

It works by callbacks: a delivery that the target accepts is acked within the callback of its result. A task is created
only if something has to wait, such as a copy for its confirm. Each callback and each task has a guard. An error in one
of them is an internal error, which counts no attempt. The delivery is requeued, or if its event has met such an error
before, it moves to a delay queue.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, assert_never

import structlog

from eventflow.amqp.consumer import Consumer
from eventflow.errors import DeliveryLostError, EventFlowError
from eventflow.event import utc_now
from eventflow.message import Envelope
from eventflow.outcome import Copied, DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow.telemetry.logging import shown_id
from eventflow_processor.attempt import AbandonedError
from eventflow_processor.gate.gate import Gate
from eventflow_processor.gate.verdict import Pass
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observer import Observers
from eventflow_processor.observe.tracing import DeliveryTracing
from eventflow_processor.quota.quota import Quota
from eventflow_processor.retry import CRASH_PAUSE_S, REPEAT_WAIT_MAX_S, Ending, RetryPolicy, decide, given_up
from eventflow_processor.target.port import Attempt, Target
from eventflow_processor.target.result import Errored, Failed, Judged, Result, Succeeded, Unsendable
from eventflow_processor.turn import Turn

DELIVERED = Delivered()
"""The outcome of each success. It has no state, so one instance serves all."""

log = structlog.stdlib.get_logger()


class GateClosedError(EventFlowError):
    """A request could not be repeated, because the gate has closed or the quota allowed no attempt in time."""


class Turns:
    """Leads the turns of one flow, each from its attempt to its settlement."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        gate: Gate,
        quota: Quota,
        target: Target,
        policy: RetryPolicy,
        consumer: Consumer,
        tracing: DeliveryTracing,
        observers: Observers,
    ) -> None:
        """Wire one flow; a delivery that is held in memory is put back into `lanes`."""
        self._lanes = lanes
        self._gate = gate
        self._quota = quota
        self._target = target
        self._policy = policy
        self._consumer = consumer
        self._tracing = tracing
        self._observers = observers

    def begin(self, turn: Turn) -> None:
        """Begin the attempt. From here on the turn continues by itself, until `on_end` is called.

        Guarantee: nothing is raised. At the end of the turn, its pass is returned to the gate. Its delivery is settled,
        or waits in its lane, or is delivered again by the broker.
        """
        delivery = turn.delivery
        delivery.attempts_here += 1
        try:
            turn.spans = spans = self._tracing.begin(delivery)
            if spans is None:
                attempt = self._start(turn, delivery.envelope)
            else:
                # Log lines of other modules in this turn have the ids too: the trace is recorded and can be looked up.
                event_id = shown_id(delivery.envelope.event.id)
                with structlog.contextvars.bound_contextvars(trace_id=spans.trace_id, event_id=event_id):
                    attempt = self._start(turn, spans.continued_by(delivery.envelope))
            if not turn.is_over:  # a quick target has answered already
                turn.attempt = attempt
        except Exception as error:  # noqa: BLE001 - a guard: a bug costs a repetition, never the event
            self._fail(turn, error)

    def _start(self, turn: Turn, envelope: Envelope) -> Attempt:
        return self._target.start(
            envelope, charge=partial(self._charge, turn), on_result=partial(self._on_result, turn)
        )

    def release(self, entered: Pass | None) -> None:
        """Return the pass of an attempt without a result of the target to the gate."""
        if entered is Pass.PROBE:
            self._gate.abandon_probe()

    def abandon(self, turn: Turn) -> None:
        """End a turn at once. Its delivery stays unsettled, so the broker requeues it when the channel closes."""
        self._give_back_pass(turn)  # first, as in `_fail`
        if turn.attempt is not None:
            turn.attempt.abandon()
        if turn.waiting is not None:
            turn.waiting.cancel()
        self._end(turn, None, AbandonedError("the turn was abandoned"))

    def _on_result(self, turn: Turn, result: Result) -> None:
        try:
            if not turn.is_in_flight:  # one result is enough, and after an error of our own none counts
                return
            turn.result = result
            turn.end_attempt()
            match result:
                case Succeeded() | Failed():
                    self._settle(turn, self._decide(turn, result))
                case Unsendable():
                    self._settle(turn, self._give_up(turn, result))
                case Errored(error=error):
                    self._fail(turn, error)
                case _:
                    assert_never(result)
        except Exception as error:  # noqa: BLE001 - a guard, as in `begin`
            self._fail(turn, error)

    def _decide(self, turn: Turn, result: Judged) -> Outcome:
        """Adjust quota and gate to a result, and decide the outcome of its delivery."""
        delivery = turn.delivery
        no_room_s = self._quota.learn(result, sent_s=turn.started_s)
        entered = turn.entered or Pass.ATTEMPT
        verdict = self._gate.leave(delivery.envelope.event.id, result, entered, no_room_s=no_room_s)
        turn.entered = None  # `leave` has returned it to the gate
        if isinstance(result, Succeeded):  # it always counts
            return DELIVERED
        ending = Ending(
            result=result,
            verdict=verdict,
            pause_s=self._gate.pause_s,
            at=utc_now(),
            dice=random.random(),  # noqa: S311
            traceparent=None if turn.spans is None else turn.spans.request.traceparent,
        )
        return decide(delivery.envelope, ending, self._policy)

    def _give_up(self, turn: Turn, result: Unsendable) -> DeadLetter:
        """Give an event up for which no request can be built. Quota and gate learn nothing: nothing was sent."""
        self._give_back_pass(turn)
        traceparent = None if turn.spans is None else turn.spans.request.traceparent
        return given_up(turn.delivery.envelope, result, at=utc_now(), traceparent=traceparent)

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
        """Repeat a request under the same conditions as any other: the quota allows it in time and the gate is open."""
        self._wait_for(turn, self._send_again(turn, send), on_error=self._fail)

    async def _send_again(self, turn: Turn, send: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(REPEAT_WAIT_MAX_S):
                await self._quota.acquire()
        except TimeoutError:
            why_not = "the quota allowed no repeated request in time"
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
            outcome: The outcome of the delivery; None if it was not settled.
            error: The reason why it was not settled, or the internal error that caused the outcome.
        """
        if turn.is_over:
            return
        self._give_back_pass(turn)
        turn.settle(outcome, error)
        self._observers.attempted(turn)
        if error is None or isinstance(error, DeliveryLostError):
            self._gate.ended_well()
        if isinstance(outcome, Hold) or isinstance(error, GateClosedError):
            self._lanes.put_first(turn.delivery)  # so late, since its next turn can begin from here on
        turn.on_end(turn)
        turn.close()  # last of all: if any of this fails, the turn fails, and is ended again

    def _fail(self, turn: Turn, error: Exception) -> None:
        """Repeat a delivery after an internal error, without counting an attempt."""
        try:
            self._observers.note_error(error, where="delivery", delivery=turn.delivery)
            if turn.is_over:  # its delivery is settled, or has its next turn by now
                return
            if turn.is_in_flight:
                turn.end_attempt()
            # First, because the rest may fail: if the pass of a probe were lost, no attempt would ever start again.
            self._give_back_pass(turn)
            if turn.attempt is not None:
                turn.attempt.abandon()
            # At once, and not in the task: the gate must close before the next turn begins.
            times = self._gate.note_internal_error(turn.delivery.envelope.event.id, error)
            self._wait_for(turn, self._put_off(turn, error, times), on_error=self._drop)
        except Exception as another:  # noqa: BLE001 - the guard's own guard
            self._drop(turn, another)

    async def _put_off(self, turn: Turn, error: Exception, times: int) -> None:
        """Requeue a delivery after a pause, or move it to a delay queue if its event has met more than one such error.

        Its delay grows with each error, so that it takes no quota and no slots from other events.
        """
        delivery, outcome = turn.delivery, None
        try:
            if times > 1:
                defer = Defer(delay_s=self._policy.delay_s(times - 1, dice=0.0))
                outcome = await self._consumer.settle(delivery, defer)
        except DeliveryLostError:
            pass  # the broker has requeued it already
        except Exception as another:  # noqa: BLE001 - it can still be requeued
            self._observers.note_error(another, where="delivery", delivery=delivery)
        if delivery.is_current:
            await asyncio.sleep(CRASH_PAUSE_S)  # once requeued, it is delivered at once, and most likely fails again
            with suppress(DeliveryLostError):
                delivery.requeue()
        self._end(turn, outcome, error)

    def _drop(self, turn: Turn, error: Exception) -> None:
        """End a turn after its guard has failed too. Its delivery is stuck until the end of its session repeats it."""
        self._observers.note_error(error, where="guard", delivery=turn.delivery)
        log.error("delivery.unguarded", event_id=shown_id(turn.delivery.envelope.event.id), error=repr(error))
        turn.on_end(turn)
        turn.close()

    def _give_back_pass(self, turn: Turn) -> None:
        entered, turn.entered = turn.entered, None
        self.release(entered)

    def _wait_for(
        self, turn: Turn, waiting: Coroutine[Any, Any, None], *, on_error: Callable[[Turn, Exception], None]
    ) -> None:
        """Run `waiting` in a guarded task of the turn."""
        turn.waiting = asyncio.create_task(_guarded(turn, waiting, on_error))


async def _guarded(turn: Turn, waiting: Coroutine[Any, Any, None], on_error: Callable[[Turn, Exception], None]) -> None:
    try:
        await waiting
    except Exception as error:  # noqa: BLE001 - a guard, as in `Turns.begin`
        on_error(turn, error)
