"""From a turn to its outcome: one attempt, what follows from it, and the settlement.

One guard stands around all of it. Whatever is raised in here is an error of our own: it counts as no attempt, and the
delivery goes back to its queue, or to a delay queue if it is not the first error of its event.
"""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from eventflow.amqp.consumer import Consumer
from eventflow.delivery import Delivery
from eventflow.errors import DeliveryLostError
from eventflow.event import utc_now
from eventflow.outcome import Defer, Hold, Outcome
from eventflow_processor.gate.gate import Gate
from eventflow_processor.gate.verdict import Pass
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observations import FlowObserver, Observation
from eventflow_processor.quota.quota import Quota
from eventflow_processor.retry import Ending, RetryPolicy, decide
from eventflow_processor.target.http import Target
from eventflow_processor.target.result import AttemptNotMadeError, Judged

CRASH_PAUSE_S = 1.0
"""A delivery whose handling failed is held for so long before it is requeued: it comes again at once, and will most
likely fail again."""

REPEAT_WAIT_MAX_S = 10.0
"""How long a request that is to be repeated waits for the quota. Then the event waits its turn like any other."""


class GateClosedError(AttemptNotMadeError):
    """A request could not be repeated: the gate has closed, or the quota had no room in time."""


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """What an attempt holds from its start to its end.

    Attributes:
        entered: How the gate let it through, until it knows how the attempt ended.
    """

    entered: Pass | None = None
    delivery: Delivery | None = None


class Handler:
    """Handles the deliveries of one flow."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        quota: Quota,
        gate: Gate,
        target: Target,
        policy: RetryPolicy,
        consumer: Consumer,
        observer: FlowObserver,
    ) -> None:
        """Wire one flow."""
        self._lanes = lanes
        self._quota = quota
        self._spending = asyncio.Lock()
        self._gate = gate
        self._target = target
        self._policy = policy
        self._consumer = consumer
        self._observer = observer

    async def spend(self) -> None:
        """Wait for one attempt's quota; one caller after the other, in the order of their calls."""
        async with self._spending:
            await self._quota.acquire()

    async def handle(self, turn: Turn, delivery: Delivery) -> None:
        """Attempt the delivery and settle it, or requeue it: it is unsettled afterwards only if the broker has it back.

        Guarantee: raises nothing but a cancellation, and holds no pass of the gate afterwards.
        """
        delivery.attempts_here += 1
        try:
            observed = self._observer.taking(delivery)
            try:
                await self._attempt_and_settle(turn, delivery, observed)
            finally:
                observed.end()
        except GateClosedError:
            self.release(turn)
            self._lanes.put_first(delivery)
        except AttemptNotMadeError as error:
            self.release(turn)
            self._observer.not_made(delivery, error)
            await self._put_off(delivery, error)
        except Exception as error:  # noqa: BLE001 - the guard of every delivery: a bug costs a repetition, never the event
            self.release(turn)
            self._observer.crashed(error, where="delivery", delivery=delivery)
            await self._put_off(delivery, error)
        else:
            self._gate.ended_well()

    def release(self, turn: Turn) -> None:
        """Give the gate's pass back, if the turn still has it, of an attempt that says nothing about the target."""
        entered, turn.entered = turn.entered, None
        if entered is Pass.PROBE:
            self._gate.abandon_probe()

    async def _attempt_and_settle(self, turn: Turn, delivery: Delivery, observed: Observation) -> None:
        sent_s = time.monotonic()
        result = await self._target.attempt(observed.begin_attempt(), charge=partial(self._enter_again, turn))
        observed.end_attempt(result)
        outcome = self._decide(turn, delivery, result, sent_s=sent_s, traceparent=observed.linkable)
        observed.begin_settlement(outcome)
        try:
            outcome = await self._consumer.settle(delivery, outcome)
        except DeliveryLostError as error:
            observed.lost(error)
            return
        if isinstance(outcome, Hold):
            self._lanes.put_first(delivery)
        observed.settled(outcome)

    def _decide(
        self, turn: Turn, delivery: Delivery, result: Judged, *, sent_s: float, traceparent: str | None
    ) -> Outcome:
        no_room_s = self._quota.learn(result, sent_s=sent_s)
        entered = turn.entered or Pass.ATTEMPT
        verdict = self._gate.leave(delivery.envelope.event.id, result, entered, no_room_s=no_room_s)
        turn.entered = None
        ending = Ending(
            result=result,
            verdict=verdict,
            pause_s=self._gate.pause_s,
            at=utc_now(),
            dice=random.random(),  # noqa: S311
            traceparent=traceparent,
        )
        return decide(delivery.envelope, ending, self._policy)

    async def _enter_again(self, turn: Turn) -> None:
        """Let a request be repeated as any other begins: when the quota allows it, and only if the gate is open.

        Raises:
            GateClosedError: It may not be sent now.
        """
        try:
            async with asyncio.timeout(REPEAT_WAIT_MAX_S):
                await self.spend()
        except TimeoutError:
            raise GateClosedError("the quota had no room for a repeated request") from None
        if turn.entered is not None and not self._gate.is_open_to(turn.entered):
            raise GateClosedError("the gate has closed before the request could be repeated")

    async def _put_off(self, delivery: Delivery, error: Exception) -> None:
        """Let a delivery come again after an error of our own, with the attempts that it had.

        An event that has met one before waits in a delay queue, longer each time: it must take no quota and no slots
        from others.
        """
        try:
            times = self._gate.failed_ourselves(delivery.envelope.event.id, error)
            if times > 1:
                await self._consumer.settle(delivery, Defer(delay_s=self._policy.delay_s(times - 1, dice=0.0)))
                self._observer.put_off()
        except DeliveryLostError:
            return  # the broker has it already
        except Exception as another:  # noqa: BLE001 - it can still be requeued
            self._observer.crashed(another, where="delivery", delivery=delivery)
        if delivery.is_current:
            await self._requeue(delivery)

    async def _requeue(self, delivery: Delivery) -> None:
        await asyncio.sleep(CRASH_PAUSE_S)
        with suppress(DeliveryLostError):  # the broker has it already
            delivery.requeue()
