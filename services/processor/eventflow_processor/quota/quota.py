"""A flow's quota in one processor: the processors that share it, the rate now, and the grant of each attempt."""

import asyncio
import math
import time
from collections.abc import Callable
from itertools import islice
from typing import assert_never

import structlog

from eventflow.clock import lease_clock
from eventflow.control.messages import (
    AskStatus,
    BreakerClosed,
    BreakerOpened,
    Broadcast,
    ControlMessage,
    Counted,
    Joined,
    Known,
    Pause,
    RateReduced,
    Why,
)
from eventflow.control.overrides import Overrides
from eventflow.control.reports import CollectorReport, ProcessorReport
from eventflow_processor.quota.bucket import Bucket, capacity_of
from eventflow_processor.quota.introduction import Introduction, Newcomers, Peer
from eventflow_processor.quota.lost import LostConsumers, Statistics
from eventflow_processor.quota.rate import AimdRate
from eventflow_processor.quota.roster import Roster
from eventflow_processor.target.feedback import NOTHING, Feedback
from eventflow_processor.target.result import Failed, Judged, Succeeded

UNSTATED_PAUSE_S = 1.0
"""Pause for a target without room, if its answer gives no time."""

NEWCOMERS_MAX = 16
"""Largest number of newcomers in one message, whose size is bounded."""

log = structlog.stdlib.get_logger()


class Quota:
    """Grants attempts, in the order of the requests, so that all processors together keep to the quota (ADR 7).

    It fails closed: without a valid lease it grants nothing. A flow without a quota never waits.

    Attributes:
        check_at_once: Starts a check of the events queue now.
    """

    def __init__(
        self,
        *,
        flow: str,
        instance: str,
        rate_per_s: float | None,
        burst: float,
        cost: float,
        broadcast: Callable[[ControlMessage], None],
        clock: Callable[[], float] = time.monotonic,
        clock_of_leases: Callable[[], float] = lease_clock,
    ) -> None:
        """Start without a share.

        Args:
            instance: Name of this process among its peers.
            rate_per_s: Units for all processors together; None for no quota.
            burst: Units that all of them together may save up.
            cost: Units of one attempt.
            broadcast: Sends a message to the flow's other processors.
        """
        self.check_at_once: Callable[[], None] = lambda: None
        self._instance = instance
        self._configured_per_s = rate_per_s
        self._burst = burst
        self._cost = cost
        self._broadcast = broadcast
        self._clock = clock
        self._clock_of_leases = clock_of_leases
        self._roster = Roster()
        self._introduction = Introduction()
        self._newcomers = Newcomers()
        self._lost = LostConsumers()
        self._rate = AimdRate(rate_per_s)
        self._bucket: Bucket | None = None
        self._share_per_s = 0.0
        self._is_resting = False
        self._waiters = 0
        self._first = asyncio.Lock()  # held by the first waiter, because a bucket has one waiter at a time
        self._changed = asyncio.Event()
        self._log = log.bind(flow=flow)
        self._share()

    @property
    def rate_per_s(self) -> float:
        """Units per second that all processors together may spend now; infinite without a quota."""
        rate_per_s = self._rate.rate_per_s(now_s=self._clock())
        return math.inf if rate_per_s is None else rate_per_s

    @property
    def share_per_s(self) -> float:
        """Units per second that this processor may spend now; infinite without a quota.

        At rest it is the share that the next event gets as soon as a check has renewed the lease.
        """
        if math.isinf(self.rate_per_s):
            return math.inf
        may_spend = self._lease_s() > 0 or (self._is_resting and self._roster.is_member)
        return self._share_per_s if may_spend else 0.0

    @property
    def processors(self) -> int:
        """Number of processors that share the quota; 0 while unknown."""
        return self._roster.processors

    @property
    def is_divided(self) -> bool:
        """Whether several consumers divide a quota now, so that it matters if one of them is lost.

        At rest it does not matter, but lost ones that are known would soon be forgotten.
        """
        is_needed = self._lost.number > 0 or not self._is_resting
        return self._bucket is not None and self._lost.counted > 1 and is_needed

    @property
    def configured_per_s(self) -> float:
        """Units per second in the settings; infinite without a quota."""
        return math.inf if self._configured_per_s is None else self._configured_per_s

    @property
    def cost(self) -> float:
        """Units that one attempt costs."""
        return self._cost

    @property
    def attempts_per_s(self) -> float:
        """Attempts per second that all processors together may start now; infinite without a quota."""
        return self.rate_per_s / self._cost

    @property
    def attempt_every_s(self) -> float:
        """Seconds of this processor's share that one attempt takes; 0 without a quota."""
        return max(1, self._roster.processors) / self.attempts_per_s

    def acquire_at_once(self) -> bool:
        """Charge one more attempt if it may start now; return whether it may."""
        if self._waiters:
            return False  # they were first
        if self._rate.rate_per_s(now_s=self._clock()) is None:
            return True
        return self._bucket is not None and self._lease_s() > 0 and self._bucket.acquire_at_once()

    async def acquire(self) -> None:
        """Wait until one more attempt may start, and charge it. Callers are served in the order of their calls."""
        self._waiters += 1
        try:
            async with self._first:
                await self._acquire()
        finally:
            self._waiters -= 1

    async def _acquire(self) -> None:
        while self._rate.rate_per_s(now_s=self._clock()) is not None:
            if self._bucket is None or self._lease_s() <= 0:
                await self._wait_for_change()
                continue
            is_granted = await self._bucket.acquire()
            # The lease is checked again, because this process may have been suspended while it waited. In this case its
            # share belongs to the others by now, and the grant is void.
            if is_granted and self._lease_s() > 0:
                return

    def joined(self) -> None:
        """Note that the consumer of this processor has been started."""
        self._roster.joined(now_s=self._clock_of_leases())
        self._lost.someone_joined()
        self._introduction.begin()
        self._share()

    def left(self) -> None:
        """Note that the consumer of this processor is gone."""
        self._roster.left()
        self._lost.left()
        self._newcomers.forget()
        self._share()

    def rested(self, *, is_resting: bool) -> None:
        """Note that checks become rare because no event comes, or that they are regular again."""
        self._is_resting = is_resting

    def consumers_counted(self, consumers: int, *, began_s: float, is_proved: bool = True) -> None:
        """Note the number of consumers of the events queue, from a check that began at `began_s` of the lease clock.

        Args:
            is_proved: Whether a majority of the brokers answered in the check. Otherwise it renews no lease.
        """
        was_member = self._roster.is_member
        consumers = self._lost.without_lost(consumers, began_s=began_s, ended_s=self._clock_of_leases())
        is_successful = self._roster.consumers_counted(consumers, began_s=began_s, is_proved=is_proved)
        self._share()
        if self._roster.is_member and not was_member:
            self._note_membership()
        self._changed.set()
        if is_successful:
            self._answer_newcomers(began_s=began_s)
            self._introduce_itself(began_s=began_s)

    def statistics_asked(self, statistics: Statistics | None, *, asked_s: float) -> None:
        """Note the statistics of the events queue, which the management API was asked for at `asked_s`.

        Args:
            statistics: None if no broker is lost.
            asked_s: Of the clock of leases.
        """
        before = self._lost.number
        self._lost.asked(statistics, asked_s=asked_s)
        if self._lost.number > before:
            self._log.warning("quota.consumers_lost", lost=self._lost.number, counted=self._lost.counted)

    def still_lost(self, brokers: frozenset[str], *, asked_s: float) -> None:
        """Note that these brokers were still lost at `asked_s` of the clock of leases."""
        self._lost.still_lost(brokers, asked_s=asked_s)

    def learn(self, result: Judged, *, sent_s: float) -> float:
        """Adjust the rate and the bucket to the answer of a request that was sent at `sent_s`.

        Returns:
            Number of seconds for which the target has no room for any attempt.
        """
        feedback = result.feedback
        if feedback is NOTHING and isinstance(result, Succeeded):
            return 0.0  # true of most answers
        now_s = self._clock()
        if feedback.rate_per_s is not None:
            self._rate.stated(feedback.rate_per_s)
        if isinstance(result, Failed) and result.asks_to_wait and self._rate.refused(sent_s=sent_s, now_s=now_s):
            self._step_down()
            self.broadcast_state()
        if feedback.room is None:
            return 0.0
        if self._bucket is not None:
            self._bucket.keep_at_most(feedback.room / max(1, self._roster.processors))
        return self._room_after_s(feedback, self._rate.rate_per_s(now_s=now_s))

    def apply_overrides(self, overrides: Overrides) -> None:
        """Apply an operator's overrides: another limit, or the configured one again."""
        limit_per_s = self._configured_per_s if overrides.rate_per_s is None else overrides.rate_per_s
        self._rate.set_limit(limit_per_s, now_s=self._clock())
        self._share()

    def on_peer_message(self, received: Broadcast) -> None:
        """Take over a lower rate from a peer, and count newcomers."""
        match received.message:
            case RateReduced(units_per_s=rate_per_s):
                if self._rate.peer_reduced(rate_per_s, now_s=self._clock()):
                    self._step_down()
            case Joined(number=number):
                self._newcomers.asked(received.sender, number=number, now_s=self._clock_of_leases())
                self._lost.someone_joined()
                self.check_at_once()
            case Counted() as counted:
                self._learn_counted(counted, Peer(instance=received.sender, joins=counted.joins))
            case Pause() | BreakerOpened() | BreakerClosed() | Why() | Known():
                pass
            case AskStatus() | ProcessorReport() | CollectorReport():
                pass
            case _:
                assert_never(received.message)

    def broadcast_state(self) -> None:
        """Broadcast the rate if it is below the limit; a peer that joins needs it."""
        now_s = self._clock()
        rate_per_s = self._rate.rate_per_s(now_s=now_s)
        if rate_per_s is not None and self._rate.is_reduced(now_s=now_s):
            self._broadcast(RateReduced(units_per_s=rate_per_s))

    def _note_membership(self) -> None:
        self._log.info("quota.joined", processors=self._roster.processors)
        if self._bucket is not None:
            self._bucket.keep_at_most(0.0)  # the share of the time before belonged to the others

    def _answer_newcomers(self, *, began_s: float) -> None:
        """Answer the newcomers that a check has counted."""
        counted = self._newcomers.take_counted(began_s=began_s)
        while newcomers := dict(islice(counted, NEWCOMERS_MAX)):
            roster = self._roster
            self._broadcast(Counted(newcomers=newcomers, joins=roster.joins, processors=roster.processors))

    def _introduce_itself(self, *, began_s: float) -> None:
        """Ask the others to count this processor, if it may not send yet and has something to send.

        Without the second condition, a processor that starts with many flows at rest would wake all of them everywhere.
        """
        if self._roster.is_member or not self._waiters:
            return
        number = self._introduction.ask(processors=self._roster.processors, began_s=began_s)
        if number is not None:
            self._broadcast(Joined(number=number))

    def _learn_counted(self, counted: Counted, peer: Peer) -> None:
        """Begin to send if all others have counted this processor now."""
        number = counted.newcomers.get(self._instance)
        if number is None or self._roster.is_member:
            return
        now_s = self._clock_of_leases()
        if self._introduction.answered(peer, number=number, processors=counted.processors, now_s=now_s):
            self._roster.admitted()
            self._note_membership()
            self._changed.set()

    def _step_down(self) -> None:
        """Continue at a lower rate, with an empty bucket because the target has no room left."""
        self._share()
        if self._bucket is not None:
            self._bucket.keep_at_most(0.0)
        self._log.info("quota.reduced", units_per_s=self._rate.rate_per_s(now_s=self._clock()))

    def _room_after_s(self, feedback: Feedback, rate_per_s: float | None) -> float:
        missing = self._cost - (feedback.room or 0.0)
        if missing <= 0:
            return 0.0
        if feedback.refilled_after_s is not None:
            return feedback.refilled_after_s
        return UNSTATED_PAUSE_S if rate_per_s is None else missing / rate_per_s

    def _lease_s(self) -> float:
        now_s = self._clock_of_leases()
        lease_s = self._roster.lease_s(now_s=now_s)
        if self._roster.processors < self._lost.counted:  # the lost ones may be back after this time
            return max(0.0, min(lease_s, self._lost.holds_until_s - now_s))
        return lease_s

    def _share(self) -> None:
        """Fit the bucket to the share of this processor: the rate divided by the number of processors."""
        rate_per_s, processors = self._rate.rate_per_s(now_s=self._clock()), self._roster.processors
        self._share_per_s = rate_per_s / processors if rate_per_s is not None and processors else 0.0
        if rate_per_s is None:
            if self._bucket is not None:
                self._bucket.retire()
                self._bucket = None
        elif processors:
            capacity = capacity_of(share_per_s=self._share_per_s, burst=self._burst / processors, cost=self._cost)
            if self._bucket is None:
                self._bucket = Bucket(rate_per_s=self._share_per_s, capacity=capacity, cost=self._cost)
            else:
                self._bucket.change(rate_per_s=self._share_per_s, capacity=capacity)
        self._changed.set()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
