"""The checker: was anything lost? As Jepsen's `total-queue`, by ids that the client has chosen. Pure.

https://github.com/jepsen-io/jepsen/blob/main/jepsen/src/jepsen/checker.clj (total-queue)
"""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the client was told, and where its events were found when all had come to rest.

    Attributes:
        accepted: Ids that were answered 202.
        unaccepted: Ids that were sent and answered otherwise, or not at all.
        delivered: How often the target answered 2xx, by id.
        unheard: The same, for answers whose asker had gone: they prove no delivery, and may be duplicates all the same.
        dead: Dead letters, by id.
        waiting: What was found in work queues, retry queues and the spool, by id.
        unsettled: How many of those came to light only when the processor had gone: it held them for nothing.
    """

    accepted: Set[str]
    unaccepted: Set[str]
    delivered: Mapping[str, int]
    dead: Mapping[str, int]
    waiting: Mapping[str, int]
    unheard: Mapping[str, int] = field(default_factory=dict)
    unsettled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of the events.

    Attributes:
        lost: Accepted, and neither delivered nor kept anywhere.
        unexpected: Found though nobody has sent it.
        recovered: Not accepted, and found all the same: its answer was lost or came too late.
        duplicates: Answers 2xx, dead letters and waiting copies beyond the first of each id.
        unsettled: Deliveries that the processor held at the end though it had nothing to do.
    """

    accepted: int
    delivered: int
    dead: int
    waiting: int
    lost: frozenset[str]
    unexpected: frozenset[str]
    recovered: frozenset[str]
    duplicates: int
    unsettled: int

    @property
    def holds(self) -> bool:
        """Whether the promise was kept. Duplicates do not break it."""
        return not (self.lost or self.unexpected or self.unsettled)

    @property
    def duplicates_share(self) -> float:
        return self.duplicates / max(1, self.accepted)


def check(history: History) -> Verdict:
    """Account for every event."""
    found = Counter(history.delivered) + Counter(history.dead) + Counter(history.waiting)
    copies = found + Counter(history.unheard)
    sent = history.accepted | history.unaccepted
    return Verdict(
        accepted=len(history.accepted),
        delivered=len(history.accepted & history.delivered.keys()),
        dead=sum(history.dead.values()),
        waiting=sum(history.waiting.values()),
        lost=frozenset(history.accepted - found.keys()),
        unexpected=frozenset(copies.keys() - sent),
        recovered=frozenset(history.unaccepted & found.keys()),
        duplicates=copies.total() - len(copies),
        unsettled=history.unsettled,
    )


def longest_gap_s(times_s: list[float]) -> float:
    """Return the longest time between neighbours; 0 for fewer than two."""
    ordered = sorted(times_s)
    return max((later - earlier for earlier, later in pairwise(ordered)), default=0.0)
