"""Decisions after a failed attempt."""

from datetime import UTC, datetime, timedelta

import pytest

from eventflow.event import Event
from eventflow.message import Envelope
from eventflow.outcome import DeadLetter, Defer, Hold, Outcome, Retry
from eventflow.settings.target import TargetSettings
from eventflow_processor.gate.verdict import Verdict
from eventflow_processor.retry import Ending, RetryPolicy, attempt_max_s, decide, held_max_s
from eventflow_processor.target.feedback import Feedback
from eventflow_processor.target.result import Failed, Order

NOW = datetime(2025, 7, 13, 21, 34, 44, 573000, tzinfo=UTC)
EVENT = Event(id="e", source="s", type="t", time=NOW, accepted_at=NOW, body=b"")
POLICY = RetryPolicy(max_attempts=4, delays_s=(1, 5))


def after(envelope: Envelope, result: Failed, *, at: datetime = NOW) -> Outcome:
    """Decide the outcome after a failure that counts, without jitter."""
    return decide(envelope, Ending(result=result, verdict=Verdict.COUNTS, pause_s=0, at=at, dice=0), POLICY)


def test_failures_are_retried_with_their_delays_until_the_last_attempt() -> None:
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


DOWN = Failed(reason="server_error", status=502)
THREE_DELAYS = RetryPolicy(max_attempts=3, delays_s=(1, 30, 600))
LAST_ATTEMPT = Envelope(event=Event(id="e", source="s", type="t", time=NOW, accepted_at=NOW, body=b""), attempt=3)


@pytest.mark.parametrize(
    ("verdict", "pause_s", "outcome"),
    [
        (Verdict.DEFER, 10, Hold()),
        (Verdict.DEFER, 100, Defer(delay_s=600)),
        (Verdict.DEFER, 9000, Defer(delay_s=600)),
        (Verdict.UNCOUNTED, 0, Defer(delay_s=600)),
    ],
)
def test_what_does_not_count_is_never_dead_lettered(verdict: Verdict, pause_s: float, outcome: object) -> None:
    ending = Ending(result=DOWN, verdict=verdict, pause_s=pause_s, at=NOW, dice=0)
    assert decide(LAST_ATTEMPT, ending, THREE_DELAYS) == outcome


def test_what_counts_is() -> None:
    ending = Ending(result=DOWN, verdict=Verdict.COUNTS, pause_s=0, at=NOW, dice=0)
    assert isinstance(decide(LAST_ATTEMPT, ending, THREE_DELAYS), DeadLetter)


def test_jitter_is_a_choice_between_neighbouring_delays() -> None:
    first = Envelope(event=LAST_ATTEMPT.event)

    def delay_s(dice: float) -> float:
        outcome = decide(first, Ending(result=DOWN, verdict=Verdict.COUNTS, pause_s=0, at=NOW, dice=dice), THREE_DELAYS)
        assert isinstance(outcome, Retry)
        return outcome.delay_s

    assert [delay_s(dice) for dice in (0, 0.7, 0.8, 0.99)] == [1, 1, 30, 30]


def test_no_delivery_is_unsettled_for_as_long_as_rabbitmq_allows() -> None:
    """RabbitMQ closes the channel of a delivery that is unsettled for 30 minutes. Attempts with tokens take longest."""
    token = {"oauth2_token_url": "https://id.test/token", "oauth2_client_id": "event-flow"}
    for settings in ({}, token):
        target = TargetSettings(timeout_s=300, **settings)
        assert attempt_max_s(target) < held_max_s(target) < 30 * 60


@pytest.mark.parametrize("verdict", [Verdict.COUNTS, Verdict.UNCOUNTED])
def test_a_handler_can_give_an_event_up_at_once(verdict: Verdict) -> None:
    rejected = Failed(reason="handler_rejected", text="no such order", order=Order.GIVE_UP)
    outcome = decide(Envelope(event=EVENT), Ending(result=rejected, verdict=verdict, pause_s=0, at=NOW, dice=0), POLICY)
    assert isinstance(outcome, DeadLetter)
    assert outcome.envelope.failure is not None
    assert (outcome.envelope.attempt, outcome.envelope.failure.reason) == (1, "handler_rejected")
    assert outcome.envelope.failure.text == "no such order"


@pytest.mark.parametrize("attempt", [1, POLICY.max_attempts, POLICY.max_attempts + 1])
def test_a_handler_can_put_an_event_off_without_a_count(attempt: int) -> None:
    later = Failed(reason="handler_deferred", order=Order.RETRY_LATER, feedback=Feedback(retry_after_s=4))
    ending = Ending(result=later, verdict=Verdict.COUNTS, pause_s=0, at=NOW, dice=0)
    outcome = decide(Envelope(event=EVENT, attempt=attempt), ending, POLICY)
    assert outcome == Defer(delay_s=next(delay_s for delay_s in POLICY.delays_s if delay_s >= 4))
