"""Answers of a processor to `eventflow why`."""

import pytest

from eventflow.control.messages import Broadcast, ControlMessage, Known, Why
from eventflow.control.reports import FailureCause
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow.topology import Lane
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe import recent as module
from eventflow_processor.observe.recent import RecentEvents
from eventflow_processor.target.result import Failed
from tests.support.attempts import attempted, delivery, envelope, failed_envelope

ANSWERED_503 = FailureCause(reason="server_error", status=503)


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(due_share=0.5, replay_share=0.2)


@pytest.fixture
def recent(lanes: Lanes) -> RecentEvents:
    return RecentEvents(lanes, broadcast=lambda _: None)


@pytest.mark.parametrize(
    ("outcome", "word", "delay_s", "failure"),
    [
        (Delivered(), "delivered", None, None),
        (Retry(envelope=failed_envelope(), delay_s=5), "retry", 5, ANSWERED_503),
        (Defer(delay_s=30), "defer", 30, None),
        (Hold(), "hold", None, None),
        (DeadLetter(envelope=failed_envelope()), "dead", None, ANSWERED_503),
    ],
)
def test_an_attempt_is_remembered_with_its_outcome(
    recent: RecentEvents, outcome: Outcome, word: str, delay_s: float | None, failure: FailureCause | None
) -> None:
    recent.attempted(attempted(outcome, of=envelope("e", attempt=3)))
    known = recent.known("e")
    assert known.last is not None
    assert (known.last.outcome, known.last.attempt, known.last.delay_s, known.last.failure) == (
        word,
        3,
        delay_s,
        failure,
    )
    assert known.in_hand is None


@pytest.mark.parametrize("outcome", [Defer(delay_s=30), Hold()])
def test_an_attempt_that_does_not_count_is_remembered_with_its_reason(recent: RecentEvents, outcome: Outcome) -> None:
    failed = Failed(reason="connection", detail="no_listener", text="Connection refused")
    recent.attempted(attempted(outcome, of=envelope("e"), result=failed))
    known = recent.known("e")
    assert known.last is not None
    assert known.last.failure == FailureCause(reason="connection", detail="no_listener", text="Connection refused")


def test_an_attempt_that_was_not_settled_is_not_remembered(recent: RecentEvents) -> None:
    recent.attempted(attempted(None))
    assert recent.known("e") == Known(event_id="e")


def test_a_delivery_in_flight_a_held_one_and_a_waiting_one_are_told_apart(recent: RecentEvents, lanes: Lanes) -> None:
    flying, held, waiting = (delivery(envelope(event_id), lane=Lane.DUE) for event_id in ("flying", "held", "waiting"))
    recent.find_in_flight = {"flying": flying}.get
    held.attempts_here = 1
    for one in (held, waiting):
        one._held[1] = one
        lanes.put(one)
    states = {event_id: recent.known(event_id).in_hand for event_id in ("flying", "held", "waiting")}
    assert {event_id: here and (here.state, here.lane) for event_id, here in states.items()} == {
        "flying": ("in_flight", "due"),
        "held": ("held", "due"),
        "waiting": ("waiting", "due"),
    }


def test_only_the_latest_attempts_are_remembered(recent: RecentEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", 2)
    for event_id in ("1", "2", "1", "3"):
        recent.attempted(attempted(Delivered(), of=envelope(event_id)))
    assert [event_id for event_id in "123" if recent.known(event_id).last] == ["1", "3"]


def test_a_question_is_answered_also_for_an_unknown_event(lanes: Lanes) -> None:
    sent: list[ControlMessage] = []
    recent = RecentEvents(lanes, broadcast=sent.append)
    recent.on_peer_message(Broadcast(flow="f", sender="cli", message=Why(event_id="e")))
    recent.on_peer_message(Broadcast(flow="f", sender="peer", message=Known(event_id="e")))
    assert sent == [Known(event_id="e")]
