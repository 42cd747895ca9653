"""Introduction: how a newcomer learns that all other processors have counted it, so that it may send at once. Pure.

Without it, a newcomer waits `JOIN_S`, because then each other processor has counted it or may not spend (`roster`). A
newcomer that knows that all have counted it need not wait. The broker gives the number of consumers, and not their
names. So the newcomer asks twice, around one of its own checks (ADR 43):

* Each other processor starts a check when it is asked, and answers when a check that began later has succeeded.
* A processor that answered before the newcomer's check, and again after it from the same membership, had its consumer
  during the check. So if these processors and the newcomer are as many as the check has counted, they are all.
* An answer contains the number of processors among which its sender divides the quota. It must not be smaller than the
  newcomer's number. So the shares add up correctly even if the sender's check was answered by an outdated broker.
* The number is the largest of two checks that are `APART_S` apart, as for a share that grows: a processor that the
  broker has just dropped may spend for a moment.

A processor that leaves, that joins, that is an older version, or whose answer is lost can only make the numbers differ.
Then the newcomer asks again after its next check, and at last `JOIN_S` have passed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from eventflow_processor.quota.roster import APART_S

PROCESSORS_MAX = 32
"""Largest number of processors that introduce themselves. If all of them start at once, the messages grow with the
square of their number, and the part of the quota that one newcomer does not use is small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One membership of another processor.

    Attributes:
        instance: Name of its process.
        joins: Number of times that it has joined the flow. So a processor that has left meanwhile is another peer.
    """

    instance: str
    joins: int


@dataclass(slots=True, kw_only=True)
class Introduction:
    """The questions of a newcomer, and the answers to them."""

    _number: int = 0  # of the latest question; never reset, so that no answer belongs to two questions
    _asked_at_s: float = -math.inf  # start of the check before the latest question
    _needed: int = 0  # the processors that this check has counted, with the newcomer
    _answered_at_s: dict[Peer, float] = field(default_factory=dict)  # the first answer of each
    _present: set[Peer] = field(default_factory=set)  # those that had answered when that check began
    _counted_by: set[Peer] = field(default_factory=set)  # those of them that have answered the latest question

    def begin(self) -> None:
        """Note that this processor has joined, and so is a newcomer."""
        self._asked_at_s, self._needed = -math.inf, 0
        for answers in (self._answered_at_s, self._present, self._counted_by):
            answers.clear()

    def ask(self, *, processors: int, began_s: float) -> int | None:
        """Return the number of the next question, which the caller sends now; None if it is too early for one.

        Call this after each successful check of a newcomer.

        Args:
            processors: The number of processors as the roster has it after the check.
            began_s: Start of the check.
        """
        if processors > PROCESSORS_MAX or began_s < self._asked_at_s + APART_S:
            return None
        self._present = {peer for peer, answered_s in self._answered_at_s.items() if answered_s < began_s}
        self._counted_by.clear()
        self._asked_at_s, self._needed = began_s, processors
        self._number += 1
        return self._number

    def answered(self, peer: Peer, *, number: int, processors: int, now_s: float) -> bool:
        """Note an answer; return whether all other processors have counted this one now.

        Args:
            number: That of the question.
            processors: The number of processors among which `peer` divides the quota.
        """
        self._answered_at_s.setdefault(peer, now_s)
        if number != self._number or peer not in self._present or processors < self._needed:
            return False
        self._counted_by.add(peer)
        return len(self._counted_by) == self._needed - 1


@dataclass(slots=True, kw_only=True)
class Newcomers:
    """Newcomers that have asked this processor and have no answer yet."""

    _asked: dict[str, tuple[int, float]] = field(default_factory=dict)

    def asked(self, newcomer: str, *, number: int, now_s: float) -> None:
        """Note a question."""
        self._asked[newcomer] = number, now_s

    def forget(self) -> None:
        """Note that this processor has left, so that it answers nothing."""
        self._asked.clear()

    def take_counted(self, *, began_s: float) -> Iterator[tuple[str, int]]:
        """Yield the newcomers that a successful check has counted, with the numbers of their questions; forget them.

        A check that began before the question may have counted before the newcomer joined.
        """
        for newcomer, (number, asked_s) in tuple(self._asked.items()):
            if asked_s < began_s:
                del self._asked[newcomer]
                yield newcomer, number
