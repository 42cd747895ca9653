"""The checker of lost events. It works like Jepsen's `total-queue`, by ids that the client has chosen. Pure.

https://github.com/jepsen-io/jepsen/blob/main/jepsen/src/jepsen/checker.clj (total-queue)
"""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Answers to the client, and the places of its events after all work was done.

    Attributes:
        accepted: Ids that were answered 202.
        unaccepted: Ids with another answer or none.
        delivered: Number of 2xx answers of the target, by id.
        unheard: Number of 2xx answers after the client had closed its connection, by id. They prove no delivery, but
            may be duplicates.
        dead: Number of dead letters, by id.
        waiting: Number of copies in work queues, retry queues and the spool, by id.
        unsettled: Number of deliveries that appeared only after the end of the processor: it held them without work.
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
    """Result of the check.

    Attributes:
        lost: Accepted ids that were found nowhere.
        unexpected: Ids that were found but never sent.
        recovered: Ids that were found but not accepted: the 202 was lost or too late.
        duplicates: Number of 2xx answers, dead letters and waiting copies beyond the first of each id.
        unsettled: Number of deliveries that the processor held at the end without work.
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
        """Whether no event was lost. Duplicates are allowed."""
        return not (self.lost or self.unexpected or self.unsettled)

    @property
    def duplicates_share(self) -> float:
        return self.duplicates / max(1, self.accepted)


def check(history: History) -> Verdict:
    """Check a history."""
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
    """Return the longest time between two neighbours; 0 for fewer than two times."""
    ordered = sorted(times_s)
    return max((later - earlier for earlier, later in pairwise(ordered)), default=0.0)
