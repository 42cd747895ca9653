"""Order of the turns: deliveries wait here, by lane, until they are taken. Pure."""

import random
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from eventflow.delivery import Delivery
from eventflow.topology import Lane


class Lanes:
    """Three queues in memory: due first, within its share; then replay, within its share; then live.

    So a retry never waits behind the backlog, and neither retries nor replays starve live events. Each lane is FIFO.

    Attributes:
        on_arrival: Called after a delivery was added.
    """

    def __init__(self, *, due_share: float, replay_share: float) -> None:
        """Start empty; each share is the largest part of the turns that a lane gets while live events wait."""
        self.on_arrival: Callable[[], None] = _ignore
        due, replay = _Side(share=due_share), _Side(share=replay_share)
        self._sides = due, replay
        self._live: deque[Delivery] = deque()
        self._waiting = {Lane.DUE: due.queue, Lane.REPLAY: replay.queue, Lane.LIVE: self._live}

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not any(self._waiting.values())

    def put(self, delivery: Delivery) -> None:
        """Add a delivery as the last of its lane."""
        self._waiting[delivery.lane].append(delivery)
        self.on_arrival()

    def put_first(self, delivery: Delivery) -> None:
        """Add a delivery that has had a turn already, before all others of its lane."""
        self._waiting[delivery.lane].appendleft(delivery)
        self.on_arrival()

    def take(self) -> Delivery | None:
        """Take the next delivery; None if nothing waits. Deliveries that can no longer be settled are dropped."""
        for queue in self._waiting.values():
            while queue and not queue[0].is_current:
                queue.popleft()
        if not self._live:
            return next((side.queue.popleft() for side in self._sides if side.queue), None)
        return self._first_with_credit() or self._live.popleft()

    def take_other_than(self, event_ids: Collection[str]) -> Delivery | None:
        """Take a delivery of an event that is not among these; if there is none, the next delivery."""
        # A live delivery if possible: a due one has failed before, so its failure shows less about the target. Not the
        # first of the lane: after a crash, the first are those that were in flight during it, perhaps its cause.
        for lane in (Lane.LIVE, Lane.REPLAY, Lane.DUE):
            queue = self._waiting[lane]
            if others := [d for d in queue if d.is_current and d.envelope.event.id not in event_ids]:
                delivery = random.choice(others)  # noqa: S311 - no secret
                queue.remove(delivery)
                return delivery
        return self.take()

    def take_received_before(self, received_s: float) -> list[Delivery]:
        """Take all deliveries received before `received_s` of the monotonic clock."""
        late = [d for queue in self._waiting.values() for d in queue if d.received_s < received_s]
        for delivery in late:
            self._waiting[delivery.lane].remove(delivery)
        return late

    def take_all(self) -> list[Delivery]:
        """Take all deliveries, in their order."""
        left = [delivery for queue in self._waiting.values() for delivery in queue]
        for queue in self._waiting.values():
            queue.clear()
        return left

    def find(self, event_id: str) -> Delivery | None:
        """Return a delivery of an event that waits, and leave it there."""
        return next(
            (d for queue in self._waiting.values() for d in queue if d.envelope.event.id == event_id and d.is_current),
            None,
        )

    def oldest_accepted_at(self) -> datetime | None:
        """Return the earliest time of acceptance among the first delivery of each lane; None if nothing waits."""
        return min((queue[0].envelope.event.accepted_at for queue in self._waiting.values() if queue), default=None)

    def _first_with_credit(self) -> Delivery | None:
        """Take from the first lane with a credit of one turn. All of them earn their share of this turn."""
        for side in self._sides:
            side.earn()
        # Only now, and as the last step: if anything failed after it, the delivery would be in no queue.
        for side in self._sides:
            if side.queue and side.credit >= 1.0:
                side.credit -= 1.0
                return side.queue.popleft()
        return None


@dataclass(slots=True, kw_only=True)
class _Side:
    """A lane beside the live one, and its credit: each turn adds the lane's share, and a turn of the lane costs 1."""

    share: float
    credit: float = 1.0
    queue: deque[Delivery] = field(default_factory=deque)

    def earn(self) -> None:
        """Add the share of one turn. The credit is bounded, so an idle lane cannot save up several turns."""
        self.credit = min(1.0, self.credit) + self.share


def _ignore() -> None:
    """Do nothing, because there is no dispatcher yet."""
