"""Start of the turns: selects the next delivery, one at a time, when a slot, the gate and the quota allow it.

One coroutine does this for all deliveries of a flow. It waits only if it must: as long as there are deliveries, free
slots and quota, it begins one turn after the other. The end of a turn only frees its slot, and the next turn always
begins in this loop. So a target that answers at once causes no recursion.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from typing import Literal, assert_never

import structlog

from eventflow.delivery import Delivery
from eventflow.errors import DeliveryLostError
from eventflow.telemetry.logging import shown_id
from eventflow_processor.gate.gate import Gate
from eventflow_processor.gate.verdict import Pass
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observer import Observers
from eventflow_processor.quota.quota import Quota
from eventflow_processor.retry import CRASH_PAUSE_S, HELD_IN_MEMORY_S
from eventflow_processor.turn import Turn
from eventflow_processor.turns import Turns

STANDSTILL_S = 30.0
"""If no attempt begins for this time although nothing prevents one, the processor is not ready."""

PROBED_IDS_MAX = 100
"""Events of the latest probes: the next probe takes another event, so that a poison event blocks no healthy one."""

TURNS_IN_A_ROW = 32
"""Turns that begin without a pause for the rest of the event loop, such as sockets and timers: a few milliseconds."""

WaitsFor = Literal["a delivery", "a slot", "the gate", "the quota"]

log = structlog.stdlib.get_logger()


class Dispatcher:
    """Begins the turns of one flow. Each turn holds a slot; the number of slots is the concurrency of the flow."""

    def __init__(
        self,
        *,
        flow: str,
        lanes: Lanes,
        gate: Gate,
        quota: Quota,
        turns: Turns,
        observers: Observers,
        concurrency: int,
        attempt_max_s: float,
        held_max_s: float,
    ) -> None:
        """Wire one flow.

        Args:
            concurrency: Bounds attempts in flight and copies that wait for their confirm, together.
            attempt_max_s: The deadline of an attempt.
            held_max_s: Longest time from the receipt of a delivery to the end of its turn; then the turn is given up.
        """
        self._lanes = lanes
        self._gate = gate
        self._quota = quota
        self._turns = turns
        self._observers = observers
        self._concurrency = concurrency
        self._attempt_max_s = attempt_max_s
        self._held_max_s = held_max_s
        self._arrived = asyncio.Event()
        lanes.on_arrival = self._arrived.set
        self._begun: set[Turn] = set()
        self._turn_ended = asyncio.Event()
        self._probed: deque[str] = deque(maxlen=PROBED_IDS_MAX)
        self._waits_for: WaitsFor | None = None
        self._waits_since_s = 0.0
        self._queue_filled_at_s: float | None = None  # since then, each check has found events in the live queue
        self._log = log.bind(flow=flow)

    @property
    def in_flight(self) -> int:
        """Attempts in flight now."""
        return sum(turn.is_in_flight for turn in self._begun)

    def find(self, event_id: str) -> Delivery | None:
        """Return the delivery of an event whose turn has begun and not ended."""
        return next((t.delivery for t in self._begun if t.delivery.envelope.event.id == event_id), None)

    async def run(self) -> None:
        """Dispatch until cancelled. One task alone waits for gate and quota, so each lane keeps its order."""
        for turns in itertools.count(1):
            try:
                await self._begin_next()
            except Exception as error:  # noqa: BLE001 - as for a delivery: one turn is lost, and the next begins
                self._observers.note_error(error, where="dispatcher")
                await asyncio.sleep(CRASH_PAUSE_S)
            if turns % TURNS_IN_A_ROW == 0:
                await asyncio.sleep(0)

    def check(self) -> None:
        """Requeue deliveries that have waited too long, and give up turns that do not end. Call it every second.

        During a pause deliveries wait long, and none may stay unsettled for a minute. A turn that has not ended by its
        time limit never will, because of a bug, and occupies a slot.
        """
        try:
            self._requeue(self._lanes.take_received_before(time.monotonic() - HELD_IN_MEMORY_S))
            self._give_up_before(time.monotonic() - self._held_max_s)
        except Exception as error:  # noqa: BLE001 - the next check is in a second
            self._observers.note_error(error, where="dispatcher")

    async def drain(self, *, timeout_s: float) -> None:
        """Requeue deliveries that wait, and wait for turns to end; those still running after `timeout_s` are abandoned.

        An abandoned attempt is not lost: its delivery is unsettled, so the broker delivers it again.
        """
        self._requeue(self._lanes.take_all())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._begun:
                    self._turn_ended.clear()
                    await self._turn_ended.wait()
        self._requeue(self._lanes.take_all())  # a pause of the target has put these back meanwhile
        if late := tuple(self._begun):
            self._log.warning("drain.timed_out", attempts=len(late), timeout_s=timeout_s)
            for turn in late:
                self._abandon(turn)

    def live_depth_measured(self, *, ready: int) -> None:
        """Note the number of events that are ready in the live queue."""
        if not ready:
            self._queue_filled_at_s = None
        elif self._queue_filled_at_s is None:
            self._queue_filled_at_s = time.monotonic()

    def standstill(self) -> str | None:
        """Return the reason why no attempt has begun for 30 s, with events and an open gate; None if all is well."""
        now_s = time.monotonic()
        waited_s = now_s - self._waits_since_s
        if waited_s < STANDSTILL_S or not self._gate.is_open:
            return None
        match self._waits_for:
            case "a slot" if waited_s > STANDSTILL_S + self._attempt_max_s:
                return f"all {self._concurrency} slots have been taken for {waited_s:.0f} s"
            case "the quota" if waited_s > STANDSTILL_S + self._quota.attempt_every_s:
                return f"the quota has granted no attempt for {waited_s:.0f} s"
            case "a delivery" if not self._begun and (stood_s := self._queue_filled_for_s(now_s)) > STANDSTILL_S:
                return f"the queue has had events for {stood_s:.0f} s, and none is delivered to this processor"
        return None

    def _queue_filled_for_s(self, now_s: float) -> float:
        return 0.0 if self._queue_filled_at_s is None else now_s - self._queue_filled_at_s

    async def _begin_next(self) -> None:
        while self._lanes.is_empty:
            self._arrived.clear()
            await self._wait_for("a delivery", self._arrived.wait())
        # The slot comes before the quota, so that a granted attempt starts at once. The gate comes before the quota for
        # the same reason: quota that is granted before a long pause and used after it would be a burst. Only this task
        # takes slots, so one that is free now is still free when the turn begins.
        while len(self._begun) >= self._concurrency:
            self._turn_ended.clear()
            await self._wait_for("a slot", self._turn_ended.wait())
        if not self._gate.may_enter:
            await self._wait_for("the gate", self._gate.wait())
        if not self._quota.acquire_at_once():
            await self._wait_for("the quota", self._quota.acquire())
        self._begin_turn()

    async def _wait_for(self, waits_for: WaitsFor, waiting: Awaitable[object]) -> None:
        self._waits_for, self._waits_since_s = waits_for, time.monotonic()
        try:
            await waiting
        finally:
            self._waits_for = None

    def _begin_turn(self) -> None:
        """Begin the turn that has a slot and quota, if the gate is still open and a delivery still waits."""
        entered = self._gate.enter()
        if entered is None:
            return
        turn: Turn | None = None
        delivery: Delivery | None = None
        has_begun = False
        try:
            # Pick the delivery only now, so that it is still current and the longest waiting.
            delivery = self._take(entered)
            if delivery is not None:
                turn = Turn(delivery=delivery, entered=entered, on_end=self._ended)
                self._begun.add(turn)  # before it begins: it may end at once
                self._turns.begin(turn)
                has_begun = True
        finally:
            if not has_begun:
                if turn is not None:
                    self._begun.discard(turn)
                if delivery is not None:
                    self._lanes.put_first(delivery)
                self._turns.release(entered)

    def _take(self, entered: Pass) -> Delivery | None:
        match entered:
            case Pass.ATTEMPT:
                return self._lanes.take()
            case Pass.PROBE:
                delivery = self._lanes.take_other_than(self._probed)
                if delivery is not None:
                    self._probed.append(delivery.envelope.event.id)
                return delivery
            case _:
                assert_never(entered)

    def _ended(self, turn: Turn) -> None:
        self._begun.discard(turn)
        self._turn_ended.set()

    def _give_up_before(self, received_s: float) -> None:
        """Abandon turns with a delivery received before `received_s`. The end of the session requeues it."""
        for turn in tuple(self._begun):
            if turn.delivery.received_s < received_s:
                self._log.error("delivery.given_up", event_id=shown_id(turn.delivery.envelope.event.id))
                self._abandon(turn)

    def _abandon(self, turn: Turn) -> None:
        try:
            self._turns.abandon(turn)
        except Exception as error:  # noqa: BLE001 - an error in one turn must not keep the others from being abandoned
            self._observers.note_error(error, where="dispatcher", delivery=turn.delivery)
        finally:
            self._ended(turn)

    def _requeue(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            with suppress(DeliveryLostError):  # the broker has requeued it already
                delivery.requeue()
