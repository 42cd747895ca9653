"""Membership: how many share the quota, and when one of them may spend. On a clock of the test's own."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.amqp.consumer import POLL_S
from eventflow_processor.quota.roster import APART_S, JOIN_S, LEASE_S, Roster
from tests.support.cases import CASES

TICK_S = 0.25
REST_POLL_S = 15.0
DROPPED_AFTER_S = 20.0
"""When the broker drops a peer that it hears nothing from: two heartbeats."""


@dataclass
class Member:
    """A processor of the simulation.

    Attributes:
        looks_at_s: When it looks at the queue next.
        cut_off_at_s: Since when the broker has not heard from it, nor it from the broker.
        is_running: Whether the process runs; one that stands still cannot spend.
        is_resting: Whether it looks rarely, because no event comes. It spends all the same, as if one came.
    """

    roster: Roster
    looks_at_s: float
    cut_off_at_s: float = math.inf
    is_running: bool = True
    is_resting: bool = False


@dataclass
class Flow:
    """Processors that join, end, stand still and lose their broker, and a broker that counts their consumers."""

    now_s: float = 0.0
    members: list[Member] = field(default_factory=list)

    def join(self) -> None:
        roster = Roster()
        roster.joined(now_s=self.now_s)
        self.members.append(Member(roster=roster, looks_at_s=self.now_s))

    def end(self, number: int) -> None:
        if self.members:
            del self.members[number % len(self.members)]

    def lose(self, number: int, *, stands_still: bool) -> None:
        if self.members and (member := self.members[number % len(self.members)]).cut_off_at_s > self.now_s:
            member.cut_off_at_s, member.is_running = self.now_s, not stands_still

    def rest(self, number: int) -> None:
        """No event comes to one of them for a while."""
        if self.members:
            self.members[number % len(self.members)].is_resting = True

    def wake(self, number: int) -> None:
        """An event comes to one of them, which looks at once."""
        if self.members:
            member = self.members[number % len(self.members)]
            member.is_resting, member.looks_at_s = False, self.now_s

    def recover(self) -> None:
        """All go on: with their old consumers, or with new ones where the broker has dropped those."""
        for member in self.members:
            if self.now_s - member.cut_off_at_s >= DROPPED_AFTER_S:
                member.roster.joined(now_s=self.now_s)
            if member.cut_off_at_s <= self.now_s:
                member.cut_off_at_s, member.is_running, member.looks_at_s = math.inf, True, self.now_s
            member.is_resting = False

    def pass_time(self) -> None:
        self.now_s += TICK_S
        consumers = sum(self.now_s - member.cut_off_at_s < DROPPED_AFTER_S for member in self.members)
        for member in self.members:
            if member.cut_off_at_s > self.now_s and self.now_s >= member.looks_at_s:
                member.roster.consumers_counted(consumers, began_s=self.now_s, is_proved=not member.is_resting)
                member.looks_at_s = self.now_s + (REST_POLL_S if member.is_resting else POLL_S)

    @property
    def spent_share(self) -> float:
        """Return the part of the quota that is spent if each processor that may spend uses its share."""
        return sum(
            1 / member.roster.processors
            for member in self.members
            if member.is_running and member.roster.lease_s(now_s=self.now_s) > 0
        )


@settings(max_examples=3 * CASES)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["join", "end", "stall", "cut", "recover", "rest", "wake"]),
            st.integers(0, 3),
            st.integers(0, 80),
        ),
        max_size=25,
    )
)
def test_the_shares_of_all_never_add_up_to_more_than_the_quota(story: list[tuple[str, int, int]]) -> None:
    flow = Flow()
    flow.join()
    flow.pass_time()
    for change, number, ticks in story:
        match change:
            case "join":
                flow.join()
            case "end":
                flow.end(number)
            case "stall" | "cut":
                flow.lose(number, stands_still=change == "stall")
            case "recover":
                flow.recover()
            case "rest":
                flow.rest(number)
            case "wake":
                flow.wake(number)
        for _ in range(ticks):
            flow.pass_time()
            assert flow.spent_share <= 1.0 + 1e-9
    flow.recover()
    for _ in range(round((REST_POLL_S + 10) / TICK_S)):  # a look at rest may have been the latest
        flow.pass_time()
    assert not flow.members or flow.spent_share == pytest.approx(1.0), "nothing of it is left unused in the end"


def test_one_that_is_alone_need_not_wait() -> None:
    roster = Roster()
    roster.joined(now_s=100)
    assert roster.lease_s(now_s=100) == 0
    roster.consumers_counted(1, began_s=100.1)
    assert roster.lease_s(now_s=100.1) == LEASE_S


def test_whoever_joins_others_waits_until_all_have_seen_it_or_stopped() -> None:
    roster = Roster()
    roster.joined(now_s=100)
    for began_s in (100.1, 101.1, 102.1, 103.1):
        roster.consumers_counted(2, began_s=began_s)
        assert roster.lease_s(now_s=began_s) == 0
    roster.consumers_counted(2, began_s=100 + JOIN_S)
    assert roster.lease_s(now_s=100 + JOIN_S) == LEASE_S


def test_a_share_shrinks_at_once_and_grows_at_the_second_look() -> None:
    roster = Roster()
    roster.joined(now_s=100)
    seen = []
    for number, consumers in enumerate((1, 4, 2, 2)):
        roster.consumers_counted(consumers, began_s=101 + number)
        seen.append(roster.processors)
    assert seen == [1, 4, 4, 2]


def test_a_look_that_does_not_count_us_or_is_older_than_we_are_proves_nothing() -> None:
    roster = Roster()
    roster.joined(now_s=100)
    roster.consumers_counted(1, began_s=99.9)
    roster.consumers_counted(0, began_s=100.5)
    assert roster.lease_s(now_s=100.5) == 0


def test_a_look_that_an_event_starts_is_not_the_second_one_that_lets_a_share_grow() -> None:
    """A peer that the broker has just dropped may still spend for a moment."""
    roster = Roster()
    roster.joined(now_s=100)
    seen = []
    for began_s, consumers in ((104, 2), (119, 1), (119.001, 1), (119 + APART_S, 1)):
        roster.consumers_counted(consumers, began_s=began_s)
        seen.append(roster.processors)
    assert seen == [2, 2, 2, 1]


def test_a_look_without_a_majority_is_counted_and_renews_no_lease() -> None:
    roster = Roster()
    roster.joined(now_s=100)
    roster.consumers_counted(1, began_s=100)
    roster.consumers_counted(3, began_s=110, is_proved=False)
    assert roster.processors == 3
    assert roster.lease_s(now_s=110) == 0
