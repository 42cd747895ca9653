"""Whose turn it is: deliveries wait here by lane until the dispatcher takes the next. Pure but for the wake-up."""

import asyncio
import random
from collections import deque
from collections.abc import Collection
from datetime import datetime

from eventflow.delivery import Delivery
from eventflow.topology import Lane


class Lanes:
    """Three queues in memory: due first, within its share; then replay, within its share; then live.

    So a retry never waits behind the backlog, and neither retries nor replays starve live events. Each lane is FIFO.
    """

    def __init__(self, *, due_share: float, replay_share: float) -> None:
        """Start empty; each share is the largest part of the turns that a lane gets while live events wait."""
        self._waiting: dict[Lane, deque[Delivery]] = {lane: deque() for lane in (Lane.DUE, Lane.REPLAY, Lane.LIVE)}
        self._shares = {Lane.DUE: due_share, Lane.REPLAY: replay_share}
        self._credit = dict.fromkeys(self._shares, 1.0)
        self._arrived = asyncio.Event()

    def put(self, delivery: Delivery) -> None:
        """Keep `delivery` until it is its turn."""
        self._waiting[delivery.lane].append(delivery)
        self._arrived.set()

    def put_first(self, delivery: Delivery) -> None:
        """Keep a delivery that has had its turn already, before all others of its lane."""
        self._waiting[delivery.lane].appendleft(delivery)
        self._arrived.set()

    async def wait(self) -> None:
        """Wait until something waits."""
        while not any(self._waiting.values()):
            self._arrived.clear()
            await self._arrived.wait()

    def take(self) -> Delivery | None:
        """Take the delivery whose turn it is; None where nothing waits. Those whose channel is gone are dropped."""
        for queue in self._waiting.values():
            while queue and not queue[0].is_current:
                queue.popleft()
        if not self._waiting[Lane.LIVE]:
            return self._first_of(Lane.DUE, Lane.REPLAY)
        return self._first_with_credit() or self._waiting[Lane.LIVE].popleft()

    def take_other_than(self, event_ids: Collection[str]) -> Delivery | None:
        """Take any delivery of an event that is not among these; where there is none, whose turn it is.

        A live one if possible, since what is due has failed before and says less about the target. And not the first:
        after a crash, what comes first is what was in trouble when it happened.
        """
        for lane in (Lane.LIVE, Lane.REPLAY, Lane.DUE):
            queue = self._waiting[lane]
            if others := [d for d in queue if d.is_current and d.envelope.event.id not in event_ids]:
                delivery = random.choice(others)  # noqa: S311 - no secret
                queue.remove(delivery)
                return delivery
        return self.take()

    def take_received_before(self, received_s: float) -> list[Delivery]:
        """Take whatever was received before that moment of the monotonic clock."""
        late = [d for queue in self._waiting.values() for d in queue if d.received_s < received_s]
        for delivery in late:
            self._waiting[delivery.lane].remove(delivery)
        return late

    def oldest_accepted_at(self) -> datetime | None:
        """Return when the oldest of the first in each lane was accepted; None where nothing waits."""
        return min((queue[0].envelope.event.accepted_at for queue in self._waiting.values() if queue), default=None)

    def find(self, event_id: str) -> Delivery | None:
        """Return a delivery of an event that waits, and leave it there."""
        return next(
            (d for queue in self._waiting.values() for d in queue if d.envelope.event.id == event_id and d.is_current),
            None,
        )

    def clear(self) -> list[Delivery]:
        """Take everything at once, in order, to hand it back."""
        left = [delivery for queue in self._waiting.values() for delivery in queue]
        for queue in self._waiting.values():
            queue.clear()
        return left

    def _first_of(self, *lanes: Lane) -> Delivery | None:
        return next((self._waiting[lane].popleft() for lane in lanes if self._waiting[lane]), None)

    def _first_with_credit(self) -> Delivery | None:
        """Every turn earns a lane its share of a turn; a whole one buys it the next. An idle lane saves no more."""
        for lane, share in self._shares.items():
            self._credit[lane] = min(1.0 + share, self._credit[lane] + share)
        for lane in self._shares:
            if self._waiting[lane] and self._credit[lane] >= 1.0:
                self._credit[lane] -= 1.0
                return self._waiting[lane].popleft()
        return None
