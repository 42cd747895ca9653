"""Membership: how many share the quota, and when one of them may spend. On a clock of the test's own."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventflow.amqp.consumer import POLL_S
from eventflow_processor.quota.introduction import Introduction, Newcomers, Peer
from eventflow_processor.quota.lost import TICK_S as STATISTICS_EVERY_S
from eventflow_processor.quota.lost import LostConsumers, Statistics
from eventflow_processor.quota.roster import APART_S, JOIN_S, LEASE_S, Roster
from tests.support.cases import CASES

TICK_S = 0.25
AFTERWARDS_S = 0.01
"""From the messages of a tick to the looks of the same tick."""

REST_POLL_S = 15.0
LAG_S = 2.5
DROPPED_AFTER_S = 20.0
"""When the broker drops a peer that it hears nothing from: two heartbeats."""

NOTICED_AFTER_S = 2 * TICK_S
"""When a processor notices that its broker, which is drained, has dropped its consumer."""


@dataclass(eq=False)
class Member:
    """A processor of the simulation.

    Attributes:
        name: Name of its process.
        is_old: Whether it neither asks nor answers, as the releases before 0.4.0.
        looks_at_s: When it looks at the queue next.
        looked_at_s: When it was answered last.
        cut_off_at_s: Since when the broker has not heard from it, nor it from the broker.
        is_running: Whether the process runs; one that stands still cannot spend.
        is_resting: Whether it looks rarely, because no event comes. It spends all the same, as if one came.
        is_mute: Whether its messages are lost.
        is_out: Whether it has no consumer, but receives messages.
        notices_at_s: When it notices that the broker has dropped its consumer.
        asks_at_s: When it asks for the statistics next.
        is_lost: Whether the broker with its consumer is lost, so that its consumer is counted for as long as it is.
        lag_s: Time for which messages to it are on their way.
        answered_after_s: Time for which its next look waits for the answer.
        sees_past: Whether its next look is answered from the state before the latest change, if it is a member.
    """

    name: str
    looks_at_s: float
    is_old: bool = False
    cut_off_at_s: float = math.inf
    is_running: bool = True
    is_resting: bool = False
    is_mute: bool = False
    is_out: bool = False
    notices_at_s: float = math.inf
    is_lost: bool = False
    lag_s: float = TICK_S
    answered_after_s: float = 0.0
    looked_at_s: float = -math.inf
    sees_past: bool = False
    roster: Roster = field(default_factory=Roster)
    introduction: Introduction = field(default_factory=Introduction)
    newcomers: Newcomers = field(default_factory=Newcomers)
    lost: LostConsumers = field(default_factory=LostConsumers)
    asks_at_s: float = 0.0

    @property
    def has_consumer(self) -> bool:
        return not self.is_out and math.isinf(self.notices_at_s)

    def left(self) -> None:
        self.is_out, self.notices_at_s = True, math.inf
        self.newcomers.forget()
        self.roster.left()
        self.lost.left()

    def joined(self, now_s: float) -> None:
        self.left()
        self.is_out = False
        self.roster.joined(now_s=now_s)
        self.introduction.begin()
        self.looks_at_s = now_s


@dataclass
class Message:
    """A message that is on its way; `deliver` runs at its receiver."""

    receiver: Member
    arrives_at_s: float
    deliver: Callable[[], None]


@dataclass
class Flow:
    """Processors that join, end, stand still and lose their broker, and a broker that counts their consumers."""

    are_mute: bool = False  # whether the messages of all members are lost
    now_s: float = 0.0
    members: list[Member] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    joins: int = 0
    consumers_before: int = 0
    lost: int = 0  # consumers of lost brokers whose processors have ended or joined again
    lost_brokers: frozenset[str] = frozenset()
    is_management_silent: bool = False
    statistics: list[tuple[float, Statistics]] = field(default_factory=list)
    statistics_lag_s: float = 0.0
    are_statistics_stuck: bool = False
    stuck: list[Statistics] = field(default_factory=list)  # those that wait for a silent broker

    def join(self, *, is_old: bool = False) -> None:
        self.joins += 1
        member = Member(name=str(self.joins), looks_at_s=self.now_s, is_old=is_old, is_mute=self.are_mute)
        member.joined(self.now_s)
        self.members.append(member)

    def of(self, number: int) -> list[Member]:
        return self.members[number % len(self.members) :][:1] if self.members else []

    def rejoin(self, number: int) -> None:
        """One loses its session, and begins another at once."""
        for member in self.of(number):
            if member.cut_off_at_s > self.now_s:
                member.joined(self.now_s)

    def leave_or_return(self, number: int) -> None:
        for member in self.of(number):
            if member.cut_off_at_s > self.now_s and not member.has_consumer:
                member.joined(self.now_s)
            elif member.cut_off_at_s > self.now_s:
                member.left()

    def drop(self, number: int) -> None:
        """The broker of one of them is drained, which ends its consumer before the processor notices it."""
        for member in self.of(number):
            if member.cut_off_at_s > self.now_s and member.has_consumer and not member.is_lost:
                member.notices_at_s = self.now_s + NOTICED_AFTER_S

    def mute(self, number: int) -> None:
        for member in self.of(number):
            member.is_mute = True

    def lag(self, number: int) -> None:
        for member in self.of(number):
            member.lag_s = LAG_S

    def see_the_past(self, number: int) -> None:
        for member in self.of(number):
            member.sees_past = True

    def end(self, number: int) -> None:
        for member in self.of(number):
            self.lost += member.is_lost
            self.members.remove(member)

    def lose(self, number: int, *, stands_still: bool) -> None:
        if self.members and (member := self.members[number % len(self.members)]).cut_off_at_s > self.now_s:
            member.cut_off_at_s, member.is_running = self.now_s, not stands_still

    def lose_broker(self, number: int) -> None:
        """A broker is lost. One of the processors is connected to it, and may be connected to another one again later.

        Each processor has a broker of its own. One that is lost cannot be lost once more, but one that is back can.
        """
        self.lost_brokers |= {next(name for name in map(str, itertools.count()) if name not in self.lost_brokers)}
        for member in self.of(number):
            if member.cut_off_at_s > self.now_s and member.has_consumer:
                member.cut_off_at_s, member.is_lost = self.now_s, True

    def reconnect(self, number: int) -> None:
        for member in self.of(number):
            if member.is_lost:
                self.lost += 1
                self._find_broker(member)

    def lost_brokers_return(self) -> None:
        self.lost_brokers = frozenset()
        self.lost_brokers_start()

    def lost_brokers_start(self) -> None:
        """RabbitMQ ends the consumers of processors that are gone. The others have lost their session, and join.

        This is seconds before the management API names these brokers as back. A newcomer that does not introduce itself
        can exceed the quota then, so this is no change of the stories that are made at random.
        """
        self.lost = 0
        for member in self.members:
            if member.is_lost:
                self._find_broker(member)

    def _find_broker(self, member: Member) -> None:
        member.is_lost, member.cut_off_at_s = False, math.inf
        member.joined(self.now_s)

    def delay_statistics(self, number: int) -> None:
        self.statistics_lag_s = number * STATISTICS_EVERY_S / 4

    def stop_statistics(self, number: int) -> None:
        """They wait for a silent broker until the leader notices its loss."""
        self.are_statistics_stuck = True

    def release_statistics(self, number: int) -> None:
        """The leader notices the loss, which the management API may have named before.

        All statistics that have waited are made now, of the states before, in any order. The last ones remain.
        """
        self.are_statistics_stuck = False
        if self.stuck:
            self._make(self.stuck[number % len(self.stuck)])
        self.stuck.clear()

    def delay_answer(self, number: int) -> None:
        for member in self.of(number):
            member.answered_after_s = POLL_S - TICK_S

    def _make(self, statistics: Statistics) -> None:
        self.statistics.append((self.now_s, replace(statistics, mark=str(len(self.statistics)))))

    def silence_management(self, number: int) -> None:
        self.is_management_silent = number < 3

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
        self.lost_brokers_return()
        self.is_management_silent = False
        self.release_statistics(0)
        for member in self.members:
            if self.now_s - member.cut_off_at_s >= DROPPED_AFTER_S or not member.has_consumer:
                member.joined(self.now_s)
            if member.cut_off_at_s <= self.now_s:
                member.cut_off_at_s, member.is_running, member.looks_at_s = math.inf, True, self.now_s
            member.is_resting = member.is_mute = member.sees_past = False
            member.lag_s = TICK_S

    def pass_time(self) -> None:
        self.now_s += TICK_S
        self._deliver()
        for member in self.members:
            if member.is_running and self.now_s >= member.notices_at_s:
                member.left()
        active = sum(
            self.now_s - member.cut_off_at_s < DROPPED_AFTER_S and member.has_consumer and not member.is_lost
            for member in self.members
        )
        consumers = active + self.lost + sum(member.is_lost for member in self.members)
        if not self.now_s % STATISTICS_EVERY_S:
            found = Statistics(consumers=active, mark="", lost=self.lost_brokers)
            if self.are_statistics_stuck:
                self.stuck.append(found)
            else:
                self._make(found)
        for member in self.members:
            if member.has_consumer and member.cut_off_at_s > self.now_s and self.now_s >= member.looks_at_s:
                sees_past = member.sees_past and member.roster.is_member and self.consumers_before
                self._look(member, self.consumers_before if sees_past else consumers)
                member.sees_past = False
            if self.now_s >= member.asks_at_s and not self.is_management_silent:
                member.asks_at_s = self.now_s + POLL_S
                member.lost.asked(self._statistics(), asked_s=self.now_s)
        self.consumers_before = consumers

    def _look(self, member: Member, consumers: int) -> None:
        ended_s = self.now_s + AFTERWARDS_S
        began_s = max(member.looked_at_s, ended_s - member.answered_after_s)
        member.looked_at_s, member.answered_after_s = ended_s, 0.0
        member.looks_at_s = self.now_s + (REST_POLL_S if member.is_resting else POLL_S)
        roster = member.roster
        consumers = member.lost.without_lost(consumers, began_s=began_s, ended_s=ended_s)
        if not roster.consumers_counted(consumers, began_s=began_s, is_proved=not member.is_resting):
            return
        for newcomer, number in member.newcomers.take_counted(began_s=began_s):
            peer, processors = Peer(instance=member.name, joins=roster.joins), roster.processors
            for other in self.members:
                if other.name == newcomer:
                    self._send(member, other, self._answer(other, peer, number, processors))
        if roster.is_member or member.is_old:
            return
        asked = member.introduction.ask(processors=roster.processors, began_s=began_s)
        for other in self.members if asked is not None else ():
            if other is not member and not other.is_old:
                self._send(member, other, self._question(other, member.name, asked or 0))

    def _statistics(self) -> Statistics | None:
        """Return the statistics that RabbitMQ has collected, with the present state of the brokers."""
        before_s = self.now_s - self.statistics_lag_s
        collected = [statistics for at_s, statistics in self.statistics if at_s <= before_s]
        return replace(collected[-1], lost=self.lost_brokers) if collected and self.lost_brokers else None

    def _question(self, receiver: Member, newcomer: str, number: int) -> Callable[[], None]:
        def deliver() -> None:
            receiver.newcomers.asked(newcomer, number=number, now_s=self.now_s)
            receiver.lost.someone_joined()
            receiver.looks_at_s, receiver.is_resting = self.now_s, False

        return deliver

    def _answer(self, receiver: Member, peer: Peer, number: int, processors: int) -> Callable[[], None]:
        def deliver() -> None:
            if receiver.introduction.answered(peer, number=number, processors=processors, now_s=self.now_s):
                receiver.roster.admitted()

        return deliver

    def _send(self, sender: Member, receiver: Member, deliver: Callable[[], None]) -> None:
        if not sender.is_mute:
            arrives_at_s = self.now_s + receiver.lag_s
            self.messages.append(Message(receiver=receiver, arrives_at_s=arrives_at_s, deliver=deliver))

    def _deliver(self) -> None:
        """Deliver what has arrived. Who is cut off receives nothing; who stands still receives it afterwards."""
        waiting = []
        for message in self.messages:
            if not message.receiver.is_running or message.arrives_at_s > self.now_s:
                waiting.append(message)
            elif message.receiver.cut_off_at_s > self.now_s:
                message.deliver()
        self.messages = waiting

    @property
    def spent_share(self) -> float:
        """Return the part of the quota that is spent if each processor that may spend uses its share."""
        return sum(
            1 / member.roster.processors
            for member in self.members
            if member.is_running
            and member.roster.lease_s(now_s=self.now_s) > 0
            and (member.roster.processors >= member.lost.counted or self.now_s < member.lost.holds_until_s)
        )


CHANGES: Mapping[str, Callable[[Flow, int], None]] = {
    "join": lambda flow, _: flow.join(),
    "join, as an old version": lambda flow, _: flow.join(is_old=True),
    "rejoin": Flow.rejoin,
    "leave or return": Flow.leave_or_return,
    "drop": Flow.drop,
    "end": Flow.end,
    "stall": lambda flow, number: flow.lose(number, stands_still=True),
    "cut": lambda flow, number: flow.lose(number, stands_still=False),
    "lose a broker": Flow.lose_broker,
    "reconnect": Flow.reconnect,
    "the lost brokers return": lambda flow, _: flow.lost_brokers_return(),
    "delay statistics": Flow.delay_statistics,
    "stop statistics": Flow.stop_statistics,
    "release statistics": Flow.release_statistics,
    "silence the management API": Flow.silence_management,
    "recover": lambda flow, _: flow.recover(),
    "rest": Flow.rest,
    "wake": Flow.wake,
    "mute": Flow.mute,
    "lag": Flow.lag,
    "delay an answer": Flow.delay_answer,
    "see the past": Flow.see_the_past,
}

Story = list[tuple[str, int, int]]


def stories(changes: Iterable[str], *, ticks_max: int) -> st.SearchStrategy[Story]:
    """Return stories of changes, each with the number of a member and the ticks that pass afterwards."""
    change = st.tuples(st.sampled_from(list(changes)), st.integers(0, 4), st.integers(0, ticks_max))
    return st.lists(change, max_size=25)


def flow_of(members: int, *, lag: int = 0, are_mute: bool = False) -> Flow:
    """Return a flow with members that join now, and the lag of its statistics in quarters of their interval."""
    flow = Flow(are_mute=are_mute)
    for _ in range(members):
        flow.join()
    flow.delay_statistics(lag)
    return flow


def play(flow: Flow, story: Story) -> None:
    for change, number, ticks in story:
        CHANGES[change](flow, number)
        for _ in range(ticks):
            flow.pass_time()
            assert flow.spent_share <= 1.0 + 1e-9


@settings(max_examples=3 * CASES)
@given(stories(CHANGES, ticks_max=80))
def test_the_shares_of_all_never_add_up_to_more_than_the_quota(story: Story) -> None:
    flow = Flow()
    flow.join()
    flow.pass_time()
    play(flow, story)
    flow.recover()
    for _ in range(round((REST_POLL_S + 10) / TICK_S)):  # a look at rest may have been the latest
        flow.pass_time()
    assert not flow.members or flow.spent_share == pytest.approx(1.0), "nothing of it is left unused in the end"


BESIDE_A_SILENT_ONE = [
    *(("leave or return", 0, 6), ("end", 1, 6)),  # the third member is alone, and the first one only listens
    *(("wake", 1, 6), ("wake", 1, 1)),  # it looks until it spends the whole quota
    ("cut", 1, 0),  # it may spend for 3 s more, and counts nobody
]
"""The beginning of stories in which a newcomer must not take the first member for the silent one."""


@settings(max_examples=3 * CASES)
@example([*BESIDE_A_SILENT_ONE, ("join", 0, 5), ("leave or return", 0, 8)])
@example(
    [
        *BESIDE_A_SILENT_ONE,
        *(("leave or return", 0, 0), ("join", 0, 4), ("leave or return", 0, 6), ("leave or return", 0, 8)),
    ]
)
@example([("drop", 0, 0), ("drop", 1, 0), ("rejoin", 2, 8)])  # the broker of all is drained
@given(stories(sorted(CHANGES.keys() - {"stall", "recover", "rest", "wake"}), ticks_max=6))
def test_nor_when_many_join_and_leave_in_a_few_seconds(story: Story) -> None:
    """The introduction of a newcomer takes about two seconds."""
    flow = flow_of(3)
    for _ in range(round(2 * JOIN_S / TICK_S)):
        flow.pass_time()
    play(flow, story)


@settings(max_examples=3 * CASES)
@example(0, True, [("join", 0, 5), ("silence the management API", 0, 6), ("the lost brokers return", 0, 7)])
@example(1, True, [("join", 0, 0), ("the lost brokers return", 0, 0), ("lose a broker", 3, 60)])
@example(1, True, [("wake", 0, 19), ("leave or return", 2, 1), ("leave or return", 2, 40)])
@example(1, True, [("rest", 2, 4), ("end", 3, 56), ("join", 0, 0), ("wake", 2, 24)])
@example(4, True, [("rest", 2, 4), ("end", 3, 40), ("join", 0, 16), ("wake", 2, 24)])
@example(
    0, True, [("cut", 0, 100), ("join", 0, 16), ("the lost brokers return", 0, 0), ("silence the management API", 0, 6)]
)
@example(
    1, True, [("stop statistics", 0, 20), ("reconnect", 1, 0), ("join", 0, 1), ("cut", 0, 48), ("lose a broker", 0, 15)]
)
@given(st.integers(0, 4), st.booleans(), stories(sorted(CHANGES.keys() - {"recover"}), ticks_max=24))
def test_nor_while_a_broker_is_lost(lag: int, are_mute: bool, story: Story) -> None:
    """The number of lost consumers is known after about half a minute."""
    flow = flow_of(4, lag=lag, are_mute=are_mute)
    play(flow, [("wake", 0, 80), ("lose a broker", 0, 60), ("lose a broker", 1, 0), ("reconnect", 0, 80), *story])


@pytest.mark.parametrize(("is_old", "least_s", "most_s"), [(False, 1.0, 3.0), (True, JOIN_S, JOIN_S + POLL_S)])
def test_newcomers_need_not_wait_unless_there_is_an_old_version(is_old: bool, least_s: float, most_s: float) -> None:
    flow = Flow()
    flow.join(is_old=is_old)
    while not flow.members[0].roster.is_member:
        flow.pass_time()
    for _ in range(3):
        flow.join()
    began_s = flow.now_s
    while not all(member.roster.is_member for member in flow.members):
        flow.pass_time()
    assert least_s <= flow.now_s - began_s <= most_s


@pytest.mark.parametrize("reconnects", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("lag", range(5))
def test_the_share_of_a_lost_broker_is_not_unused_until_it_is_back(reconnects: tuple[int, ...], lag: int) -> None:
    flow = flow_of(3, lag=lag)
    play(flow, [("wake", 0, 80), ("lose a broker", 0, 0), ("lose a broker", 1, 40)])
    play(flow, [("reconnect", number, 2) for number in reconnects])
    play(flow, [("wake", 0, 120)])
    assert flow.spent_share == pytest.approx(1.0)
    play(flow, [("the lost brokers return", 0, 60)])
    assert flow.spent_share == pytest.approx(1.0)


@pytest.mark.parametrize("lag", range(5))
@pytest.mark.parametrize("phase", range(0, 20, 3))
def test_a_return_that_nobody_has_seen_leaves_no_lost_consumers_behind(lag: int, phase: int) -> None:
    flow = flow_of(5, lag=lag, are_mute=True)
    play(flow, [("wake", 0, 80), ("lose a broker", 0, 0), ("lose a broker", 2, 120), ("end", 0, 0), ("end", 1, 0)])
    lost_before = flow.lost_brokers
    # The newcomers hide the return from the checks; statistics are those from before it.
    play(flow, [("silence the management API", 0, 40), ("stop statistics", 0, 0), ("join", 0, 0), ("join", 0, 0)])
    play(flow, [("the lost brokers return", 0, 80)])
    flow.lost_brokers = lost_before
    play(flow, [("silence the management API", 3, 120 + phase), ("join", 0, 0), ("join", 0, 60)])


@pytest.mark.parametrize("phase", range(4))
@pytest.mark.parametrize("silent", range(8))
def test_a_broker_returns_while_the_management_api_is_silent(phase: int, silent: int) -> None:
    flow = flow_of(4, are_mute=True)
    play(flow, [("wake", 0, 80), ("lose a broker", 0, 120 + phase), ("wake", 1, 20 + silent)])
    play(flow, [("silence the management API", 0, 0), ("the lost brokers return", 0, 60)])


@pytest.mark.parametrize("lag", range(5))
@pytest.mark.parametrize("joins_s", range(0, 40, 5))
def test_statistics_that_waited_for_a_lost_broker_name_no_lost_consumers(lag: int, joins_s: int) -> None:
    flow = flow_of(3, lag=lag)
    play(flow, [("wake", 0, 80), ("stop statistics", 0, 8), ("join, as an old version", 0, 4 * joins_s)])
    play(flow, [("lose a broker", 3, 0), ("release statistics", 0, 0), ("end", 3, 120)])


@pytest.mark.parametrize("which", range(0, 8, 2))
@pytest.mark.parametrize("named_s", [0, 20, 35])
@pytest.mark.parametrize("joins_s", range(0, 40, 5))
def test_nor_do_those_that_the_leader_writes_when_it_notices_the_loss_last(
    joins_s: int, named_s: int, which: int
) -> None:
    flow = flow_of(3)
    play(flow, [("wake", 0, 80), ("stop statistics", 0, 0)])
    for now_s in range(40):
        play(flow, [("lose a broker", 0, 0)] if now_s == named_s else [])
        play(flow, [("join, as an old version", 0, 0)] * 2 if now_s == joins_s else [])
        play(flow, [("wake", 1, 4)])
    play(flow, [("release statistics", which, 120)])


@pytest.mark.parametrize("phase", range(8))
def test_a_newcomer_that_introduces_itself_does_not_hide_that_a_broker_starts_before_it_is_named(phase: int) -> None:
    flow = flow_of(4)
    play(flow, [("wake", 0, 80), ("lose a broker", 0, 120 + phase)])
    flow.lost_brokers_start()
    play(flow, [("wake", 0, 60)])


def test_one_that_is_alone_at_two_looks_need_not_wait_longer() -> None:
    """A broker that is drained drops the consumers of all, and the others may notice it a moment later."""
    roster = Roster()
    roster.joined(now_s=100)
    seen = []
    for began_s in (100.1, 100.2, 100.1 + APART_S):
        roster.consumers_counted(1, began_s=began_s)
        seen.append(roster.lease_s(now_s=began_s))
    assert seen == [0, 0, LEASE_S]


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
