"""Lost consumers: those of a lost broker, which RabbitMQ counts until the broker is back. Pure.

No processor can send through such a consumer, so its share of the quota would be unused for as long as the broker is
lost. The management API has a second number, of the consumers that can receive deliveries. It comes from the same
leader, which makes statistics every `TICK_S` that are collected every `TICK_S`. The difference to the number that a
check counts is the number of lost consumers, if the statistics know every processor that the check has counted. Five
rules keep this number from being too large, because then the shares would add up to more than the quota (ADR 47):

* Of the checks, the smallest number counts, since the statistics before the latest were made. They were made at most
  `MADE_S` before the last question that had older ones; of the first ones of a loss this is unknown. Meanwhile no
  processor may have joined that has told so. So the latest statistics know each processor that this number contains,
  however old they are: a leader can wait for a silent broker until it notices the loss, and then writes all statistics
  of this time at once, in any order.
* Two statistics in a row must show the difference. So a processor that was out for a moment at one of them is no lost
  one, and no processor behind a lost consumer has a lease any more. If checks are as far apart as two statistics, which
  is usual at rest, the number does not grow: both may be made after the end of a processor that the last check has
  counted, and before the start of another one that the next check counts in its place.
* It holds for `JOIN_S` after the start of the latest check that had ended before a question whose answer names the same
  lost brokers, and no lease outlasts this. When a broker is back, its consumers are no longer counted, and a newcomer
  between the same two checks can hide this. But it waits for `JOIN_S` before it sends.
* It is forgotten when a newcomer introduces itself. When a broker starts, its consumers are no longer counted some
  seconds before it is named as back, and the newcomer may hide this too.
* It is forgotten after `MADE_S` without such an answer: the broker may have been back, and be lost again.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from eventflow_processor.quota.roster import JOIN_S

TICK_S = 5.0
"""Defaults of `quorum_tick_interval` and `collect_statistics_interval` in RabbitMQ."""

MADE_S = 2 * TICK_S
"""Age that statistics can have when they are collected, with one interval to spare."""

KEPT_S = 12 * MADE_S
"""Time for which counts are remembered: with many flows, answers about one queue can be half a minute apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of a queue while a broker is lost.

    Attributes:
        consumers: Consumers that can receive deliveries.
        mark: Differs from that of the statistics before, if the queue has worked since then.
        lost: Names of the lost brokers.
    """

    consumers: int
    mark: str
    lost: frozenset[str]


@dataclass(slots=True, kw_only=True)
class LostConsumers:
    """The lost consumers of a queue, as one processor knows them. All times are of the clock of leases, in seconds.

    Attributes:
        counted: Number of consumers that the latest check has found, with the lost ones; 0 if there is none.
        number: Number of the lost ones among them, as far as it is known. It may hold no longer.
        holds_until_s: Time until which it holds, even if a lost broker is back.
    """

    counted: int = 0
    number: int = 0
    holds_until_s: float = -math.inf
    _checks: deque[tuple[float, float]] = field(default_factory=deque)  # the start and the end of each
    _counts: deque[tuple[float, int]] = field(default_factory=deque)  # the changes since a join or a rest
    _statistics: Statistics | None = None
    _made_after_s: float = -math.inf  # time after which they were made
    _asked_s: float = -math.inf  # of the latest answer
    _lost_at_s: float = -math.inf  # of the latest answer about any queue

    def left(self) -> None:
        """Note that this processor has no consumer any more, and so no checks."""
        self.counted = 0
        self._checks.clear()
        self.someone_joined()
        self._forget()

    def someone_joined(self) -> None:
        """Note that a processor has joined, which the statistics may not know yet."""
        self.number = 0
        self._counts.clear()

    def without_lost(self, consumers: int, *, began_s: float, ended_s: float) -> int:
        """Return the number of consumers that a check has found, without the lost ones.

        Args:
            consumers: The number that the check has found; 0 if it has found nothing out.
            began_s: Start of the check.
            ended_s: Time after its answer.
        """
        if consumers < 1:
            return consumers
        if self._checks and ended_s >= self._checks[-1][0] + TICK_S:
            self._counts.clear()
        # Those that a check no longer counts may be the lost ones, whose broker is back.
        self.number = max(0, self.number - max(0, self.counted - consumers))
        self.counted = consumers
        if not self._counts or self._counts[-1][1] != consumers:
            self._counts.append((began_s, consumers))
        while len(self._counts) > 1 and self._counts[1][0] <= began_s - KEPT_S:
            self._counts.popleft()
        self._checks.append((began_s, ended_s))
        while len(self._checks) > 1 and self._checks[1][1] <= ended_s - MADE_S:  # an answer takes less time
            self._checks.popleft()
        if began_s > self.holds_until_s:
            return consumers
        return max(1, consumers - self.number)

    def asked(self, statistics: Statistics | None, *, asked_s: float) -> None:
        """Note the answer to a question about the queue.

        Args:
            statistics: None if no broker is lost.
            asked_s: Time before the question.
        """
        asked_before_s, self._asked_s = self._asked_s, max(asked_s, self._asked_s)
        if statistics is not None and asked_s < asked_before_s:
            return  # a later question has been answered before
        before = self._statistics if asked_s <= self._lost_at_s + MADE_S else None
        if statistics is not None:
            self._note_lost(asked_s)
        if statistics is None or before is None or statistics.lost != before.lost:
            self._forget()
            before = None
        if statistics is None or (before is not None and statistics.mark == before.mark):
            return
        smallest = self._smallest(before_s=self._made_after_s)
        self._statistics = statistics
        self._made_after_s = -math.inf if before is None else asked_before_s - MADE_S
        if before is not None and smallest is not None and asked_s < self._checks[-1][0] + TICK_S:
            self.number = max(0, smallest - max(before.consumers, statistics.consumers))

    def still_lost(self, brokers: frozenset[str], *, asked_s: float) -> None:
        """Note an answer about another queue, which names these lost brokers."""
        is_unbroken = self._lost_at_s < asked_s <= self._lost_at_s + MADE_S
        if is_unbroken and self._statistics is not None and self._statistics.lost <= brokers:
            self._note_lost(asked_s)

    def _note_lost(self, asked_s: float) -> None:
        self._lost_at_s = asked_s
        checked_s = max((began_s for began_s, ended_s in self._checks if ended_s <= asked_s), default=-math.inf)
        self.holds_until_s = checked_s + JOIN_S

    def _smallest(self, *, before_s: float) -> int | None:
        """Return the smallest count since the latest one before `before_s`; None if there is none so early."""
        smallest: int | None = None
        for at_s, count in self._counts:
            if at_s <= before_s:
                smallest = count
            elif smallest is not None:
                smallest = min(smallest, count)
        return smallest

    def _forget(self) -> None:
        self._statistics, self.number = None, 0
