"""From lane to outcome: attempts start one by one as the quota allows, and each runs to its settlement."""

import asyncio
import random
import time
from collections import deque
from contextlib import suppress

import structlog

from eventflow.consumer import Consumer, Delivery
from eventflow.errors import DeliveryLostError
from eventflow.event import utc_now
from eventflow.lifecycle import cancel_and_wait
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow.telemetry.logging import shown_id
from eventflow.telemetry.tracing import exemplar_of
from processor.gate import Gate, Pass
from processor.lanes import Lanes
from processor.metrics import FlowMetrics
from processor.quota import Quota
from processor.retry import HELD_IN_MEMORY_S, Ending, RetryPolicy, decide
from processor.target import Failed, Result, Target
from processor.tracing import DeliveryTrace, DeliveryTracing
from processor.whereabouts import Whereabouts

HOLD_CHECK_S = 1.0
PROBED_IDS_MAX = 100
"""Events that were probed with lately: the next probe takes another, so that a poison event blocks no healthy one."""

log = structlog.stdlib.get_logger()


class Handler:
    """Handles the deliveries of one flow."""

    def __init__(
        self,
        *,
        flow: str,
        lanes: Lanes,
        quota: Quota,
        gate: Gate,
        target: Target,
        policy: RetryPolicy,
        consumer: Consumer,
        concurrency: int,
        metrics: FlowMetrics,
        tracing: DeliveryTracing,
        whereabouts: Whereabouts,
    ) -> None:
        """Wire one flow; `concurrency` bounds attempts in flight and copies that wait for their confirm, together."""
        self._lanes = lanes
        self._quota = quota
        self._spending = asyncio.Lock()
        self._gate = gate
        self._probed: deque[str] = deque(maxlen=PROBED_IDS_MAX)
        self._target = target
        self._policy = policy
        self._consumer = consumer
        self._metrics = metrics
        self._tracing = tracing
        self._whereabouts = whereabouts
        self._slots = asyncio.Semaphore(concurrency)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._log = log.bind(flow=flow)

    async def run(self) -> None:
        """Dispatch for ever: the single waiter on gate and quota, so that no delivery overtakes another of its lane."""
        while True:
            await self._lanes.wait()
            await self._slots.acquire()
            await self._gate.wait()
            await self._spend()
            # Chosen only now: what waited longest when the quota allows it, and not what has been lost meanwhile.
            entered = self._gate.enter()
            delivery = self._take(entered)
            if entered is None or delivery is None:
                self._slots.release()
                continue
            task = asyncio.create_task(self._handle(delivery, entered))
            self._in_flight.add(task)
            task.add_done_callback(self._end)

    async def return_late(self) -> None:
        """Hand back for ever what has waited here too long, such as through a pause: nothing is held for a minute."""
        while True:
            await asyncio.sleep(HOLD_CHECK_S)
            await self._hand_back(self._lanes.take_received_before(time.monotonic() - HELD_IN_MEMORY_S))

    async def drain(self, *, timeout_s: float) -> None:
        """Hand back what waits and let what is in flight settle; what has not within `timeout_s` is cancelled.

        A cancelled attempt is not lost: its delivery is unsettled, so the broker hands it out again.
        """
        await self._hand_back(self._lanes.clear())
        if self._in_flight:
            _, late = await asyncio.wait(self._in_flight, timeout=timeout_s)
            if late:
                self._log.warning("drain.timed_out", attempts=len(late), timeout_s=timeout_s)
                await cancel_and_wait(*late)

    def _take(self, entered: Pass | None) -> Delivery | None:
        match entered:
            case None:
                return None
            case Pass.ATTEMPT:
                return self._lanes.take()
            case Pass.PROBE:
                delivery = self._lanes.take_other_than(self._probed)
                if delivery is None:
                    self._gate.abandon_probe()
                else:
                    self._probed.append(delivery.envelope.event.id)
                return delivery

    async def _spend(self) -> None:
        async with self._spending:  # a repeated request waits here too, behind the dispatcher
            await self._quota.acquire()

    async def _hand_back(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            with suppress(DeliveryLostError):  # the broker has it already
                await delivery.hand_back()

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._in_flight.discard(task)
        self._slots.release()

    async def _handle(self, delivery: Delivery, entered: Pass) -> None:
        delivery.attempts_here += 1
        self._whereabouts.begin(delivery)
        try:
            with self._tracing.handling(delivery) as trace:
                await self._attempt_and_settle(delivery, entered, trace)
        finally:
            self._whereabouts.end(delivery)

    async def _attempt_and_settle(self, delivery: Delivery, entered: Pass, trace: DeliveryTrace) -> None:
        sent_s = time.monotonic()
        result = await self._attempt(delivery, trace)
        no_room_s = self._quota.learn(result, sent_s=sent_s)
        verdict = self._gate.leave(delivery.envelope.event.id, result, entered)
        self._gate.pause(no_room_s)
        ending = Ending(
            result=result,
            verdict=verdict,
            pause_s=self._gate.pause_s,
            at=utc_now(),
            dice=random.random(),  # noqa: S311
            traceparent=trace.linkable,
        )
        outcome = decide(delivery.envelope, ending, self._policy)
        if isinstance(result, Failed) and result.asks_to_wait:
            self._metrics.throttled.inc()
        try:
            with trace.settling(outcome):
                outcome = await self._consumer.settle(delivery, outcome)
        except DeliveryLostError as error:
            self._log.warning(
                "delivery.lost",
                event_id=shown_id(delivery.envelope.event.id),
                reason=str(error),
                action="comes again",
            )
        else:
            self._tell(delivery, outcome, trace)
            if isinstance(outcome, Hold):
                self._lanes.put_first(delivery)

    async def _attempt(self, delivery: Delivery, trace: DeliveryTrace) -> Result:
        started_s = time.perf_counter()
        self._metrics.in_flight += 1
        try:
            result = await self._target.attempt(trace.begin_attempt(delivery.envelope), charge=self._spend)
        except Exception:  # noqa: BLE001 - the per-delivery guard: a bug costs an attempt, never the event
            self._log.exception("attempt.crashed", event_id=shown_id(delivery.envelope.event.id))
            result = Failed(reason="internal")
        finally:
            self._metrics.in_flight -= 1
        self._metrics.attempt_seconds.observe(time.perf_counter() - started_s, exemplar_of(trace.attempt))
        trace.end_attempt(result)
        return result

    def _tell(self, delivery: Delivery, outcome: Outcome, trace: DeliveryTrace) -> None:
        event = delivery.envelope.event
        self._whereabouts.remember(delivery.envelope, outcome)
        match outcome:
            case Delivered():
                self._metrics.count_delivered(event.accepted_at, exemplar=exemplar_of(trace.attempt))
                self._log.debug("event.delivered", event_id=shown_id(event.id), attempt=delivery.envelope.attempt)
            case Retry(envelope=envelope, delay_s=delay_s) if envelope.failure is not None:
                failure = envelope.failure
                self._metrics.count_retried(failure.reason)
                self._log.info(
                    "event.retried",
                    event_id=shown_id(event.id),
                    attempt=delivery.envelope.attempt,
                    reason=failure.reason,
                    status=failure.status,
                    delay_s=delay_s,
                )
            case Defer() | Hold():
                self._metrics.count_deferred(held=isinstance(outcome, Hold))
                self._log.debug("event.deferred", event_id=shown_id(event.id), attempt=delivery.envelope.attempt)
            case DeadLetter(envelope=envelope) if envelope.failure is not None:
                failure = envelope.failure
                self._metrics.count_dead_lettered(failure.reason)
                self._log.error(
                    "event.dead_lettered",
                    event_id=shown_id(event.id),
                    attempts=envelope.attempt,
                    reason=failure.reason,
                    status=failure.status,
                )
