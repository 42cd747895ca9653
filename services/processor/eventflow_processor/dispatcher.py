"""When the next turn begins: one by one as gate and quota allow; and each is ended whatever happens in it."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Literal

import structlog

from eventflow.delivery import Delivery
from eventflow.errors import DeliveryLostError
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.logging import shown_id
from eventflow_processor.gate.gate import Gate
from eventflow_processor.gate.verdict import Pass
from eventflow_processor.handler import CRASH_PAUSE_S, Handler, Turn
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observations import FlowObserver
from eventflow_processor.quota.quota import Quota
from eventflow_processor.retry import HELD_IN_MEMORY_S

CHECK_EVERY_S = 1.0
STANDSTILL_S = 30.0
"""Without a new attempt for so long, though nothing forbids one, the processor is not ready."""

PROBED_IDS_MAX = 100
"""Events that were probed with lately: the next probe takes another, so that a poison event blocks no healthy one."""

log = structlog.stdlib.get_logger()


class Dispatcher:
    """Begins the turns of one flow. A turn has a slot, of which there are as many as attempts may be in flight."""

    def __init__(
        self,
        *,
        flow: str,
        lanes: Lanes,
        gate: Gate,
        quota: Quota,
        handler: Handler,
        observer: FlowObserver,
        concurrency: int,
        attempt_max_s: float,
        held_max_s: float,
    ) -> None:
        """Wire one flow.

        Args:
            concurrency: Bounds attempts in flight and copies that wait for their confirm, together.
            attempt_max_s: The deadline of an attempt.
            held_max_s: A turn whose delivery was received longer ago is given up.
        """
        self._lanes = lanes
        self._gate = gate
        self._quota = quota
        self._handler = handler
        self._observer = observer
        self._concurrency = concurrency
        self._attempt_max_s = attempt_max_s
        self._held_max_s = held_max_s
        self._slots = asyncio.Semaphore(concurrency)
        self._turns: dict[asyncio.Task[None], Turn] = {}
        self._probed: deque[str] = deque(maxlen=PROBED_IDS_MAX)
        self._waits_for: Literal["a delivery", "a slot", "the gate", "the quota"] = "a delivery"
        self._waits_since_s = time.monotonic()
        self._queue_empty_at_s = time.monotonic()
        self._log = log.bind(flow=flow)

    async def run(self) -> None:
        """Dispatch for ever: the single waiter on gate and quota, so that no delivery overtakes another of its lane."""
        while True:
            try:
                await self._begin_next()
            except Exception as error:  # noqa: BLE001 - as for a delivery: one turn is lost, and the next begins
                self._observer.crashed(error, where="dispatcher")
                await asyncio.sleep(CRASH_PAUSE_S)

    async def check_regularly(self) -> None:
        """Keep for ever what is held within bounds.

        Deliveries that have waited here too long, such as through a pause, are requeued: nothing is held for a minute.
        Turns that have not ended long after they had to are given up, which frees their slots.
        """
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                await self._hand_back(self._lanes.take_received_before(time.monotonic() - HELD_IN_MEMORY_S))
                self._give_up_before(time.monotonic() - self._held_max_s)
            except Exception as error:  # noqa: BLE001 - the next look is in a second
                self._observer.crashed(error, where="dispatcher")

    async def drain(self, *, timeout_s: float) -> None:
        """Requeue what waits and let what is in flight settle; what has not within `timeout_s` is cancelled.

        A cancelled attempt is not lost: its delivery is unsettled, so the broker hands it out again.
        """
        await self._hand_back(self._lanes.clear())
        if self._turns:
            _, late = await asyncio.wait(self._turns, timeout=timeout_s)
            if late:
                self._log.warning("drain.timed_out", attempts=len(late), timeout_s=timeout_s)
                await cancel_and_wait(*late)

    def queue_looked(self, *, ready: int) -> None:
        """Note how many events the live queue has ready now."""
        if not ready:
            self._queue_empty_at_s = time.monotonic()

    def standstill(self) -> str | None:
        """Return why no attempt has begun for 30 s, with events and an open gate; None if all is well."""
        now_s = time.monotonic()
        waited_s = now_s - self._waits_since_s
        if waited_s < STANDSTILL_S or not self._gate.is_open:
            return None
        match self._waits_for:
            case "a slot" if waited_s > STANDSTILL_S + self._attempt_max_s:
                return f"all {self._concurrency} slots have been taken for {waited_s:.0f} s"
            case "the quota" if waited_s > STANDSTILL_S + self._quota.attempt_every_s:
                return f"the quota has granted no attempt for {waited_s:.0f} s"
            case "a delivery" if not self._turns and (stood_s := now_s - self._queue_empty_at_s) > STANDSTILL_S:
                return f"the queue has had events for {stood_s:.0f} s, and none is delivered to this processor"
        return None

    async def _begin_next(self) -> None:
        self._begin_wait("a delivery")
        await self._lanes.wait()
        self._begin_wait("a slot")
        turn, begun = Turn(), False
        await self._slots.acquire()
        try:
            self._begin_wait("the gate")
            await self._gate.wait()
            self._begin_wait("the quota")
            await self._handler.spend()
            # Pick the delivery only now, so that it is still current and the longest waiting.
            turn.entered = self._gate.enter()
            turn.delivery = self._take(turn.entered)
            begun = self._begin(turn)
        finally:
            if not begun:
                self._abandon(turn)

    def _begin_wait(self, waits_for: Literal["a delivery", "a slot", "the gate", "the quota"]) -> None:
        self._waits_for = waits_for
        self._waits_since_s = time.monotonic()

    def _take(self, entered: Pass | None) -> Delivery | None:
        match entered:
            case None:
                return None
            case Pass.ATTEMPT:
                return self._lanes.take()
            case Pass.PROBE:
                delivery = self._lanes.take_other_than(self._probed)
                if delivery is not None:
                    self._probed.append(delivery.envelope.event.id)
                return delivery

    def _begin(self, turn: Turn) -> bool:
        if turn.delivery is None:
            return False
        task = asyncio.create_task(self._handler.handle(turn, turn.delivery))
        self._turns[task] = turn
        task.add_done_callback(self._ended)
        return True

    def _abandon(self, turn: Turn) -> None:
        """Release what a turn that has not begun holds."""
        self._slots.release()
        if turn.delivery is not None:
            self._lanes.put_first(turn.delivery)
        self._handler.release(turn)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._slots.release()
        self._handler.release(self._turns.pop(task))
        if not task.cancelled() and (error := task.exception()) is not None:
            self._observer.internal_errors.count()
            self._log.error("delivery.unguarded", error=repr(error))

    def _give_up_before(self, received_s: float) -> None:
        """Cancel turns whose delivery was received before that moment; the end of its session requeues it."""
        for task, turn in self._turns.items():
            if turn.delivery is not None and turn.delivery.received_s < received_s:
                self._log.error("delivery.given_up", event_id=shown_id(turn.delivery.envelope.event.id))
                task.cancel()

    async def _hand_back(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            with suppress(DeliveryLostError):  # the broker has it already
                delivery.requeue()
