"""From lane to outcome: attempts start one by one as the quota allows, and each runs to its settlement."""

import asyncio
import time

import structlog

from eventflow.consumer import Consumer, Delivery
from eventflow.errors import DeliveryLostError
from eventflow.event import utc_now
from eventflow.lifecycle import cancel_and_wait
from eventflow.outcome import DeadLetter, Delivered, Outcome, Retry
from eventflow.telemetry.logging import shown_id
from processor.lanes import Lanes
from processor.limiter import Limiter
from processor.metrics import FlowMetrics
from processor.retry import RetryPolicy, decide
from processor.target import Failed, Result, Target

log = structlog.stdlib.get_logger()


class Handler:
    """Handles the deliveries of one flow."""

    def __init__(
        self,
        *,
        flow: str,
        lanes: Lanes,
        limiter: Limiter,
        target: Target,
        policy: RetryPolicy,
        consumer: Consumer,
        concurrency: int,
        metrics: FlowMetrics,
    ) -> None:
        """Wire one flow; `concurrency` bounds attempts in flight and copies that wait for their confirm, together."""
        self._lanes = lanes
        self._limiter = limiter
        self._target = target
        self._policy = policy
        self._consumer = consumer
        self._metrics = metrics
        self._slots = asyncio.Semaphore(concurrency)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._log = log.bind(flow=flow)

    async def run(self) -> None:
        """Dispatch for ever: the single waiter on the quota, so that no delivery overtakes another of its lane."""
        while True:
            await self._lanes.wait()
            await self._slots.acquire()
            await self._limiter.acquire()
            # Chosen only now: what waited longest when the quota allows it, and not what has been lost meanwhile.
            await self._lanes.wait()
            delivery = self._lanes.take()
            if delivery is None:
                self._slots.release()
                continue
            task = asyncio.create_task(self._handle(delivery))
            self._in_flight.add(task)
            task.add_done_callback(self._end)

    async def drain(self, *, timeout_s: float) -> None:
        """Hand back what waits and let what is in flight settle; what has not within `timeout_s` is cancelled.

        A cancelled attempt is not lost: its delivery is unsettled, so the broker hands it out again.
        """
        for delivery in self._lanes.clear():
            try:
                await delivery.hand_back()
            except DeliveryLostError:
                break  # the channel is gone, and with it all of them
        if self._in_flight:
            _, late = await asyncio.wait(self._in_flight, timeout=timeout_s)
            if late:
                self._log.warning("drain.timed_out", attempts=len(late), timeout_s=timeout_s)
                await cancel_and_wait(*late)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._in_flight.discard(task)
        self._slots.release()

    async def _handle(self, delivery: Delivery) -> None:
        result = await self._attempt(delivery)
        outcome = decide(delivery.envelope, result, self._policy, now=utc_now())
        try:
            await self._consumer.settle(delivery, outcome)
        except DeliveryLostError as error:
            self._log.warning(
                "delivery.lost",
                event_id=shown_id(delivery.envelope.event.id),
                reason=str(error),
                action="comes again",
            )
        else:
            self._tell(delivery, outcome)

    async def _attempt(self, delivery: Delivery) -> Result:
        started_s = time.perf_counter()
        with self._metrics.in_flight.track_inprogress():
            try:
                result = await self._target.attempt(delivery.envelope)
            except Exception:  # noqa: BLE001 - the per-delivery guard: a bug costs an attempt, never the event
                self._log.exception("attempt.crashed", event_id=shown_id(delivery.envelope.event.id))
                result = Failed(reason="internal")
        self._metrics.attempt_seconds.observe(time.perf_counter() - started_s)
        return result

    def _tell(self, delivery: Delivery, outcome: Outcome) -> None:
        event = delivery.envelope.event
        match outcome:
            case Delivered():
                self._metrics.count_delivered(age_s=(utc_now() - event.accepted_at).total_seconds())
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
