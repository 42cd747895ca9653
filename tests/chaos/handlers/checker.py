"""The checker of effects and of the events that they emit, by ids that the client has chosen. Pure."""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

from eventflow.handling.derived import derived_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Answers to the client, effects in the database, and the places of all events after all work was done.

    Attributes:
        accepted: Ids that were answered 202.
        unaccepted: Ids with another answer or none.
        effects: Number of effects, by id.
        unhandled: Number of messages in the queues of the handler's flow, its dead queue included, by id.
        put: Ids of events that a program has put into the outbox, in a transaction that it has committed.
        emitted: Number of times that the target has accepted an emitted event, by id.
        unsent: Number of copies of emitted events in the outbox and in the queues of their flow, by id.
    """

    accepted: Set[str]
    unaccepted: Set[str]
    effects: Mapping[str, int]
    unhandled: Mapping[str, int]
    put: Set[str]
    emitted: Mapping[str, int]
    unsent: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Result of the check.

    Attributes:
        effects_lost: Accepted events without an effect that are in no queue either.
        effects_doubled: Events with more than one effect.
        effects_unexpected: Effects of events that were never sent.
        emitted_lost: Events of which the effect is committed, and that were found nowhere.
        emitted_unexpected: Emitted events without a committed effect.
        repeats: Number of times that an emitted event was found beyond the first, by id.
        left: Number of messages and rows that were left, dead letters included.
    """

    accepted: int
    effects: int
    emitted: int
    effects_lost: frozenset[str]
    effects_doubled: frozenset[str]
    effects_unexpected: frozenset[str]
    emitted_lost: frozenset[str]
    emitted_unexpected: frozenset[str]
    repeats: Mapping[str, int]
    left: int

    @property
    def is_sound(self) -> bool:
        """Whether each event took effect once and emitted its event. Repeats of emitted events are allowed."""
        wrong = self.effects_doubled | self.effects_unexpected | self.emitted_unexpected
        return not (self.effects_lost or self.emitted_lost or wrong or self.left)

    @property
    def repeats_share(self) -> float:
        return sum(self.repeats.values()) / max(1, self.emitted)


def check(ledger: Ledger) -> Verdict:
    """Check a ledger."""
    found = Counter(ledger.emitted) + Counter(ledger.unsent)
    expected = {derived_id(event_id, 0) for event_id in ledger.effects} | ledger.put
    return Verdict(
        accepted=len(ledger.accepted),
        effects=sum(ledger.effects.values()),
        emitted=len(ledger.emitted),
        effects_lost=frozenset(ledger.accepted - ledger.effects.keys() - ledger.unhandled.keys()),
        effects_doubled=frozenset(event_id for event_id, times in ledger.effects.items() if times > 1),
        effects_unexpected=frozenset(ledger.effects.keys() - ledger.accepted - ledger.unaccepted),
        emitted_lost=frozenset(expected - found.keys()),
        emitted_unexpected=frozenset(found.keys() - expected),
        repeats={event_id: times - 1 for event_id, times in found.items() if times > 1},
        left=sum(ledger.unhandled.values()) + sum(ledger.unsent.values()),
    )
