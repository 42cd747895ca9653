"""Lost consumers: those of a lost broker, which RabbitMQ counts until the broker is back. Pure.

No processor can send through such a consumer, so its share of the quota would be unused for as long as the broker is
lost. The management API has a second number, of the consumers that can receive deliveries. It comes from the same
leader, which makes statistics every `TICK_S` that are collected every `TICK_S`. The difference to the number that a
check counts is the number of lost consumers, if the statistics know every processor that the check has counted. Five
rules keep this number from being too large, because then the shares would add up to more than the quota (ADR 47):

* Of the checks, the smallest number counts, since `MADE_S` before the last question that had older statistics. In this
  time no processor may have joined that has told so. So the statistics know each processor that this number contains.
* Two statistics in a row must show the difference. So a processor that was out for a moment at one of them is no lost
  one, and no processor behind a lost consumer has a lease any more. Without a check between them, which is usual at
  rest, the number does not grow: the difference may contain processors that have ended since the latest check.
* It holds for `JOIN_S` after the latest question whose answer names the same lost brokers, less the longest time
  between two checks since then, and no lease outlasts this. When a broker is back, its consumers are no longer counted,
  and a newcomer between the same two checks can hide this. But it waits for `JOIN_S` before it sends.
* It is forgotten after `MADE_S` without such an answer: the broker may have been back, and be lost again.
* It is not taken from statistics of the first `MADE_S` of a loss. Until RabbitMQ notices the loss of a silent broker,
  its statistics can wait for this broker, and so they can be as old as this takes.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from eventflow_processor.quota.roster import JOIN_S

TICK_S = 5.0
"""Defaults of `quorum_tick_interval` and `collect_statistics_interval` in RabbitMQ."""

MADE_S = 2 * TICK_S
"""Age that statistics can have when they are collected, with one interval to spare."""

KEPT_S = 4 * MADE_S
"""Time for which checks are remembered: there may be some seconds between two answers."""

CHECKS_MIN = 2
"""Checks that are always remembered: at rest they are rare."""


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
    _checked_s: deque[float] = field(default_factory=deque)
    _counts: deque[tuple[float, int]] = field(default_factory=deque)  # by time, since a processor has joined
    _statistics: Statistics | None = None
    _statistics_s: float = -math.inf  # when the first answer with them was asked for
    _asked_s: float = -math.inf  # of the latest answer
    _lost_at_s: float = -math.inf  # of the latest answer about any queue
    _since_s: float = -math.inf  # of the first answer that named the same lost brokers

    def left(self) -> None:
        """Note that this processor has no consumer any more, and so no checks."""
        self.counted = 0
        self._checked_s.clear()
        self.someone_joined()
        self._forget()

    def someone_joined(self) -> None:
        """Note that a processor has joined, which the statistics may not know yet."""
        self._counts.clear()

    def without_lost(self, consumers: int, *, began_s: float) -> int:
        """Return the number of consumers that a check has found, without the lost ones.

        Args:
            consumers: The number that the check has found; 0 if it has found nothing out.
            began_s: Start of the check.
        """
        if consumers < 1:
            return consumers
        # Those that a check no longer counts may be the lost ones, whose broker is back.
        self.number = max(0, self.number - max(0, self.counted - consumers))
        self.counted = consumers
        self._counts.append((began_s, consumers))
        while len(self._counts) > 1 and self._counts[1][0] <= began_s - KEPT_S:
            self._counts.popleft()
        self._checked_s.append(began_s)
        while self._checked_s[0] <= began_s - KEPT_S and len(self._checked_s) > CHECKS_MIN:
            self._checked_s.popleft()
        self._limit()
        if began_s > self.holds_until_s:
            return consumers
        return max(1, consumers - self.number)

    def asked(self, statistics: Statistics | None, *, asked_s: float) -> None:
        """Note the answer to a question about the queue.

        Args:
            statistics: None if no broker is lost.
            asked_s: Time before the question.
        """
        asked_before_s, self._asked_s = self._asked_s, asked_s
        before, before_s = self._statistics if asked_s <= self._lost_at_s + MADE_S else None, self._statistics_s
        if statistics is not None:
            self._lost_at_s = asked_s
            self._limit()
        if statistics is None or before is None or statistics.lost != before.lost:
            self._forget()
            self._since_s, before = asked_s, None
        if statistics is None or (before is not None and statistics.mark == before.mark):
            return
        self._statistics, self._statistics_s = statistics, asked_s
        smallest = self._smallest(before_s=asked_before_s - MADE_S)
        if before is not None and smallest is not None and asked_s >= self._since_s + MADE_S:
            number = max(0, smallest - max(before.consumers, statistics.consumers))
            self.number = number if self._checked_s[-1] >= before_s else min(number, self.number)

    def still_lost(self, brokers: frozenset[str], *, asked_s: float) -> None:
        """Note an answer about another queue, which names these lost brokers."""
        is_unbroken = asked_s <= self._lost_at_s + MADE_S
        if is_unbroken and self._statistics is not None and self._statistics.lost <= brokers:
            self._lost_at_s = asked_s
            self._limit()

    def _limit(self) -> None:
        """Limit the time for which the number holds."""
        apart_s = (later - earlier for earlier, later in pairwise(self._checked_s) if later > self._lost_at_s)
        self.holds_until_s = self._lost_at_s + JOIN_S - max(apart_s, default=0.0)

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
