"""The processor's pure parts: whose turn, how much at a time, what follows from an attempt, what is sent."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.event import Event
from eventflow.message import Envelope
from eventflow.outcome import DeadLetter, Defer, Delivered, Outcome, Retry
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane
from eventflow_processor.concurrency import concurrency_of, prefetch_of
from eventflow_processor.gate.verdict import Verdict
from eventflow_processor.lanes import Lanes
from eventflow_processor.retry import Ending, RetryPolicy, decide
from eventflow_processor.target.feedback import Feedback
from eventflow_processor.target.request import header_value
from eventflow_processor.target.result import Failed, Succeeded, judge

NOW = datetime(2025, 7, 13, 21, 34, 44, 573000, tzinfo=UTC)
EVENT = Event(id="e", source="s", type="t", time=NOW, accepted_at=NOW, body=b"")
POLICY = RetryPolicy(max_attempts=4, delays_s=(1, 5))


@dataclass(slots=True)
class Waiting:
    """A delivery as the lanes see it."""

    lane: Lane
    number: int = 0
    is_current: bool = True

    @property
    def envelope(self) -> Envelope:
        return Envelope(event=EVENT)


def lanes_with(**counts: int) -> Lanes:
    lanes = Lanes(due_share=0.5, replay_share=0.2)
    for lane, count in counts.items():
        for number in range(count):
            lanes.put(Waiting(Lane[lane.upper()], number))  # type: ignore[arg-type]  # the part that lanes use
    return lanes


def turns(lanes: Lanes, count: int) -> list[Lane]:
    return [delivery.lane for _ in range(count) if (delivery := lanes.take()) is not None]


def test_a_retry_goes_before_the_backlog() -> None:
    assert turns(lanes_with(live=100, due=1), 2) == [Lane.DUE, Lane.LIVE]


def test_a_probe_takes_an_event_that_has_not_failed_before_while_there_is_one() -> None:
    lanes = lanes_with(due=2, live=1)
    taken = [lanes.take_other_than(()) for _ in range(3)]
    assert [delivery.lane for delivery in taken if delivery] == [Lane.LIVE, Lane.DUE, Lane.DUE]


def test_due_gets_at_most_half_and_replay_a_fifth_while_live_events_wait() -> None:
    taken = turns(lanes_with(live=1000, due=1000, replay=1000), 1000)
    assert 495 <= taken.count(Lane.DUE) <= 502
    assert 195 <= taken.count(Lane.REPLAY) <= 202


def test_all_turns_are_used_when_no_live_event_waits() -> None:
    assert turns(lanes_with(due=3, replay=3), 10) == [Lane.DUE] * 3 + [Lane.REPLAY] * 3


def test_an_idle_lane_saves_no_turns() -> None:
    lanes = lanes_with(live=1000)
    turns(lanes, 500)
    for number in range(100):
        lanes.put(Waiting(Lane.DUE, number))  # type: ignore[arg-type]
    assert turns(lanes, 100).count(Lane.DUE) <= 51


def test_each_lane_is_fifo_and_drops_what_its_lost_channel_delivered() -> None:
    lanes = lanes_with(live=5)
    first = lanes.take()
    assert first is not None
    stale = lanes.take()
    assert stale is not None
    lanes.put(Waiting(Lane.LIVE, 5, is_current=False))  # type: ignore[arg-type]
    lanes.put(Waiting(Lane.LIVE, 6))  # type: ignore[arg-type]
    assert [delivery.number for _ in range(9) if (delivery := lanes.take())] == [2, 3, 4, 6]  # type: ignore[attr-defined]


def test_success_is_2xx_and_nothing_else() -> None:
    assert {status for status in range(100, 600) if isinstance(judge(status), Succeeded)} == set(range(200, 300))


def after(envelope: Envelope, result: Succeeded | Failed, *, at: datetime = NOW) -> Outcome:
    """Decide what follows from a result that counts, without jitter."""
    return decide(envelope, Ending(result=result, verdict=Verdict.COUNTS, pause_s=0, at=at, dice=0), POLICY)


def test_failures_are_retried_with_their_delays_until_the_last_attempt() -> None:
    assert after(Envelope(event=EVENT), Succeeded(status=204)) == Delivered()
    envelope, delays = Envelope(event=EVENT), []
    for number in range(1, 4):
        outcome = after(envelope, Failed(reason="timeout"), at=NOW + timedelta(seconds=number))
        assert isinstance(outcome, Retry)
        envelope = outcome.envelope
        assert envelope.attempt == number + 1
        delays.append(outcome.delay_s)
    assert delays == [1, 5, 5]
    outcome = after(envelope, Failed(reason="server_error", status=503), at=NOW + timedelta(seconds=4))
    assert isinstance(outcome, DeadLetter)
    failure = outcome.envelope.failure
    assert failure is not None
    assert (outcome.envelope.attempt, failure.reason, failure.status) == (4, "server_error", 503)
    assert failure.last_at - failure.first_at == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("asked_s", "delay_s"), [(None, 1), (0, 1), (0.5, 1), (2, 5), (4, 5), (6, 5), (100, 5), (1e12, 5)]
)
def test_a_retry_comes_no_earlier_than_its_answer_asks_for(asked_s: float | None, delay_s: float) -> None:
    """JRACLOUD-69262: a 500 with Retry-After: 6 was tried again at once. The longest delay is the longest there is."""
    failed = Failed(reason="server_error", status=500, feedback=Feedback(retry_after_s=asked_s))
    outcome = after(Envelope(event=EVENT), failed)
    assert isinstance(outcome, Retry)
    assert outcome.delay_s == delay_s
    assert outcome.envelope.attempt == 2, "it counts"
    uncounted = decide(
        Envelope(event=EVENT), Ending(result=failed, verdict=Verdict.UNCOUNTED, pause_s=0, at=NOW, dice=0), POLICY
    )
    assert uncounted == Defer(delay_s=delay_s)


def test_no_answer_delays_an_event_for_longer_than_the_setting_allows() -> None:
    policy = RetryPolicy(max_attempts=9, delays_s=(1, 10, 100), max_retry_after_s=8)
    failed = Failed(reason="client_error", status=400, feedback=Feedback(retry_after_s=99))
    assert policy.delay_after_s(failed, 1, dice=0) == 10, "the shortest that is not shorter than 8"
    assert policy.delay_after_s(failed, 3, dice=0) == 100, "its own delay is longer still"


@given(st.text(min_size=1, max_size=50).filter(str.isprintable))
def test_any_id_travels_in_a_header_and_comes_out_again(event_id: str) -> None:
    value = header_value(event_id)
    assert value.isascii()
    assert " " not in value
    assert unquote(value) == event_id


@pytest.mark.parametrize(
    ("settings", "concurrency", "live"),
    [
        ({}, 64, 64),
        ({"rate_per_s": 2}, 10, 10),
        ({"rate_per_s": 0.1}, 1, 2),
        ({"rate_per_s": 100, "cost": 50}, 10, 10),
        ({"rate_per_s": 1000}, 5000, 64),
        ({"rate_per_s": 1000, "concurrency": 7}, 7, 64),
    ],
)
def test_auto_holds_what_rate_times_timeout_needs(settings: dict, concurrency: int, live: int) -> None:
    target = TargetSettings(**settings)
    assert concurrency_of(target) == concurrency
    assert prefetch_of(target, configured=None, max_body_bytes=1024 * 1024)[Lane.LIVE] == live
    assert prefetch_of(target, configured=9, max_body_bytes=1024 * 1024)[Lane.LIVE] == 9
