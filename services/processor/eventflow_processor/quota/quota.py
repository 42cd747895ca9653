"""One processor's part of a flow's quota: who shares it, how fast the flow may go, and when we may spend."""

import asyncio
import math
import time
from collections.abc import Callable

import structlog

from eventflow.clock import lease_clock
from eventflow.control.bus import Announcement
from eventflow.control.overrides import Overrides
from eventflow_processor.observe.metrics import FlowMetrics
from eventflow_processor.quota.bucket import Bucket, capacity_of
from eventflow_processor.quota.rate import AimdRate
from eventflow_processor.quota.roster import Roster
from eventflow_processor.target.feedback import Feedback
from eventflow_processor.target.result import Failed, Judged

UNSTATED_PAUSE_S = 1.0
"""How long a target without room is left alone where nothing tells when it has some again."""

log = structlog.stdlib.get_logger()


class Quota:
    """Grants attempts, to one waiter at a time, so that all processors together keep to the quota (ADR 7).

    It fails closed: without a look at the queue within the lease nothing is granted. A flow without a quota is not held
    up by any of this.
    """

    def __init__(
        self,
        *,
        flow: str,
        rate_per_s: float | None,
        burst: float,
        cost: float,
        broadcast: Callable[[Announcement], None],
        metrics: FlowMetrics,
        clock: Callable[[], float] = time.monotonic,
        clock_of_leases: Callable[[], float] = lease_clock,
    ) -> None:
        """Start without a share.

        Args:
            rate_per_s: Units for all processors together; None for no quota.
            burst: Units that all of them together may save up.
            cost: Units of one attempt.
            broadcast: Tells the flow's other processors.
        """
        self._configured_per_s = rate_per_s
        self._burst = burst
        self._cost = cost
        self._broadcast = broadcast
        self._metrics = metrics
        self._clock = clock
        self._clock_of_leases = clock_of_leases
        self._roster = Roster()
        self._rate = AimdRate(rate_per_s)
        self._bucket: Bucket | None = None
        self._changed = asyncio.Event()
        self._log = log.bind(flow=flow)
        self._share()

    @property
    def attempts_per_s(self) -> float:
        """How many attempts all processors together may start per second now; infinite without a quota."""
        rate_per_s = self._rate.rate_per_s(now_s=self._clock())
        return math.inf if rate_per_s is None else rate_per_s / self._cost

    @property
    def attempt_every_s(self) -> float:
        """How many seconds of our share one attempt takes; 0 without a quota."""
        return max(1, self._roster.processors) / self.attempts_per_s

    async def acquire(self) -> None:
        """Wait until one more attempt may start, and charge it."""
        while self._rate.rate_per_s(now_s=self._clock()) is not None:
            if self._bucket is None or self._lease_s() <= 0:
                await self._wait_for_change()
                continue
            is_granted = await self._bucket.acquire()
            if is_granted and self._lease_s() > 0:  # again: the process may have stood still while it waited
                return

    def joined(self) -> None:
        """Note that our consumer has been started."""
        self._roster.joined(now_s=self._clock_of_leases())
        self._share()

    def left(self) -> None:
        """Note that our consumer is gone."""
        self._roster.left()
        self._share()

    def looked(self, consumers: int, *, began_s: float) -> None:
        """Note how many consumers the events queue has; the look began at `began_s` of the clock of leases."""
        was_member = self._roster.is_member
        self._roster.looked(consumers, began_s=began_s)
        self._share()
        if self._roster.is_member and not was_member:
            self._log.info("quota.joined", processors=self._roster.processors)
            if self._bucket is not None:
                self._bucket.keep_at_most(0.0)  # what has gathered meanwhile was the others' still
        self._changed.set()

    def learn(self, result: Judged, *, sent_s: float) -> float:
        """Take note of what the answer to a request that was sent at `sent_s` says about the quota.

        Returns:
            For how many seconds the target has no room for any attempt.
        """
        now_s, feedback = self._clock(), result.feedback
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

    def apply_overrides(self, settings: Overrides) -> None:
        """Heed what an operator has ordered."""
        limit_per_s = self._configured_per_s if settings.rate_per_s is None else settings.rate_per_s
        self._rate.set_limit(limit_per_s, now_s=self._clock())
        self._share()

    def on_peer_message(self, announcement: Announcement) -> None:
        """Heed what a peer says."""
        match announcement:
            case {"kind": "rate", "units_per_s": int() | float() as rate_per_s} if rate_per_s > 0:
                if self._rate.heard(rate_per_s, now_s=self._clock()):
                    self._step_down()

    def broadcast_state(self) -> None:
        """Tell the peers, among them those that join now, when the target gives less than the limit."""
        now_s = self._clock()
        rate_per_s = self._rate.rate_per_s(now_s=now_s)
        if rate_per_s is not None and self._rate.is_reduced(now_s=now_s):
            self._broadcast({"kind": "rate", "units_per_s": rate_per_s})

    def _step_down(self) -> None:
        """Go on at a lower rate, from an empty bucket: the target's is full."""
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
        return self._roster.lease_s(now_s=self._clock_of_leases())

    def _share(self) -> None:
        """Work out our share and spend from a bucket that fits it."""
        rate_per_s, processors = self._rate.rate_per_s(now_s=self._clock()), self._roster.processors
        share_per_s = math.inf
        if rate_per_s is None:
            if self._bucket is not None:
                self._bucket.retire()
                self._bucket = None
        elif processors == 0:
            share_per_s = 0.0
        else:
            share_per_s = rate_per_s / processors
            capacity = capacity_of(share_per_s=share_per_s, burst=self._burst / processors, cost=self._cost)
            if self._bucket is None:
                self._bucket = Bucket(rate_per_s=share_per_s, capacity=capacity, cost=self._cost)
            else:
                self._bucket.change(rate_per_s=share_per_s, capacity=capacity)
        is_spending = rate_per_s is None or self._lease_s() > 0
        self._metrics.set_quota(
            rate_per_s=math.inf if rate_per_s is None else rate_per_s,
            share_per_s=share_per_s if is_spending else 0.0,
            processors=processors,
        )
        self._changed.set()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
