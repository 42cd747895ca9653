"""Records of attempts: each outcome in the columns of its row, and the counts by minute."""

import math
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from eventflow.errors import DeliveryLostError
from eventflow.event import Event, utc_now
from eventflow.history.buffer import HistoryBuffer, Part
from eventflow.history.records import AttemptRecord
from eventflow.outcome import TOO_LARGE, DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow.topology import Lane
from eventflow_processor.attempt import AbandonedError, Attempted
from eventflow_processor.observe import history as module
from eventflow_processor.observe.history import NOTES_AT_ONCE, AttemptNotes, HistoryObserver, RecordIds
from eventflow_processor.target.result import (
    AttemptNotMadeError,
    Errored,
    Failed,
    KeptAnswer,
    Result,
    Succeeded,
    Unsendable,
)
from tests.support.attempts import attempted, envelope, failed_envelope

SERVER_ERROR = Failed(
    reason="server_error",
    status=503,
    text="busy",
    answer=KeptAnswer(content=b"busy", content_type="text/plain", size_bytes=4),
)
REFUSED = Failed(reason="connection", detail="no_listener", text="Connection refused", reached=False, answered=False)


def observed(*attempts: Attempted, failures_only: bool = False) -> Part:
    buffer = HistoryBuffer(writer="w", max_bytes=1 << 20, on_dropped=lambda _, __: None)
    observer = HistoryObserver(AttemptNotes(buffer, writer="w", failures_only=failures_only), flow="default")
    for one in attempts:
        observer.attempted(one)
    part = buffer.take()
    assert part is not None
    return part


def row_of(one: Attempted) -> AttemptRecord:
    (row,) = observed(one).attempts
    return row


def test_a_success_is_on_record_with_all_that_identifies_it() -> None:
    accepted_at = datetime(2026, 1, 2, tzinfo=UTC)
    sent = replace(envelope("order-1", accepted_at=accepted_at, attempt=3))
    row = row_of(attempted(Delivered(), of=sent, lane=Lane.DUE, duration_s=0.25))
    assert (row.event_id, row.type, row.source, row.subject) == ("order-1", "t", "s", None)
    assert (row.flow, row.writer, row.lane, row.attempt) == ("default", "w", Lane.DUE.value, 3)
    assert (row.accepted_at, row.started_at) == (accepted_at, datetime(1970, 1, 1, tzinfo=UTC))
    assert (row.outcome, row.settled, row.status, row.duration_us) == ("delivered", True, 200, 250_000)
    assert (row.reason, row.detail, row.text, row.answer, row.next_at, row.trace_id) == (None,) * 6


@pytest.mark.parametrize(
    ("outcome", "word", "reason", "delay_s"),
    [
        (Retry(envelope=failed_envelope(), delay_s=5), "retry", "server_error", 5),
        (Defer(delay_s=30), "defer", "server_error", 30),
        (Hold(), "hold", "server_error", None),
        (DeadLetter(envelope=failed_envelope()), "dead", "server_error", None),
    ],
)
def test_a_failure_is_on_record_with_its_answer_and_its_next_attempt(
    outcome: Outcome, word: str, reason: str, delay_s: float | None
) -> None:
    row = row_of(attempted(outcome, result=SERVER_ERROR))
    assert (row.outcome, row.settled, row.reason, row.status) == (word, True, reason, 503)
    assert (row.answer, row.answer_type, row.answer_bytes) == (b"busy", "text/plain", 4)
    assert row.text is None  # the answer has the words
    if delay_s is None:
        assert row.next_at is None
    else:
        assert row.next_at is not None
        assert abs(row.next_at - utc_now() - timedelta(seconds=delay_s)) < timedelta(seconds=1)


def test_a_failure_without_an_answer_has_the_words_of_the_network() -> None:
    row = row_of(attempted(Hold(), result=REFUSED))
    assert (row.reason, row.detail, row.text, row.status) == ("connection", "no_listener", "Connection refused", None)
    assert (row.answer, row.answer_type, row.answer_bytes) == (None, None, None)


def test_the_reason_of_a_dead_letter_comes_first() -> None:
    dead = failed_envelope()
    assert dead.failure is not None
    too_large = DeadLetter(envelope=replace(dead, failure=replace(dead.failure, reason=TOO_LARGE)))
    assert row_of(attempted(too_large, result=SERVER_ERROR)).reason == TOO_LARGE


@pytest.mark.parametrize(
    ("result", "error", "reason", "text"),
    [
        (Succeeded(status=200), DeliveryLostError("the channel is gone"), None, None),
        (SERVER_ERROR, DeliveryLostError("the channel is gone"), "server_error", None),
        (None, AbandonedError("the turn was abandoned"), "internal", "the turn was abandoned"),
        (Errored(error=AttemptNotMadeError("no descriptor")), AttemptNotMadeError("x"), "internal", "no descriptor"),
        (Errored(error=ValueError("http://user:password@host")), ValueError("x"), "internal", "ValueError"),
    ],
)
def test_an_attempt_without_a_settlement_is_lost(
    result: Result | None, error: Exception, reason: str | None, text: str | None
) -> None:
    one = attempted(None, error=error)
    one.result = result  # type: ignore[misc]
    row = row_of(one)
    assert (row.outcome, row.settled, row.reason, row.text) == ("lost", False, reason, text)


def test_an_error_costs_the_record_of_its_own_attempt_and_is_counted_in_a_gap() -> None:
    errors: list[Exception] = []
    buffer = HistoryBuffer(writer="w", max_bytes=1 << 20, on_dropped=lambda _, __: None)
    notes = AttemptNotes(buffer, writer="w", failures_only=False, on_error=errors.append)
    observer = HistoryObserver(notes, flow="default")
    for duration_s in (0.1, math.nan, 0.2):
        observer.attempted(attempted(Delivered(), duration_s=duration_s))
    part = buffer.take()
    assert part is not None
    assert [row.duration_us for row in part.attempts] == [100_000, 200_000]
    assert [(gap.flow, gap.attempts, gap.reason) for gap in part.gaps] == [("default", 1, "internal")]
    assert [type(error) for error in errors] == [ValueError]


def test_an_event_without_a_request_is_on_record_with_the_cause() -> None:
    row = row_of(attempted(DeadLetter(envelope=failed_envelope()), result=Unsendable(text="no subject")))
    assert (row.outcome, row.text, row.status) == ("dead", "no subject", None)


def test_attempts_are_counted_by_minute_result_and_duration() -> None:
    part = observed(
        attempted(Delivered(), duration_s=0.002),
        attempted(Delivered(), duration_s=0.002),
        attempted(Delivered(), duration_s=9),
        attempted(Hold(), result=REFUSED, duration_s=0.001),
    )
    counts = {
        (key.outcome, key.reason, key.status, key.bucket): one.attempts for one in part.minutes for key in (one.key,)
    }
    assert counts == {
        ("delivered", "", 200, 1): 2,
        ("delivered", "", 200, 12): 1,
        ("hold", "connection", 0, 0): 1,
    }
    assert {one.key.minute for one in part.minutes} == {0}
    assert sum(one.duration_us for one in part.minutes) == 9_005_000


def test_attempts_of_all_flows_become_records_when_there_are_enough_or_when_the_records_are_taken() -> None:
    buffer = HistoryBuffer(writer="w", max_bytes=1 << 20, on_dropped=lambda _, __: None)
    notes = AttemptNotes(buffer, writer="w", failures_only=False)
    observers = [HistoryObserver(notes, flow=flow) for flow in ("a", "b")]
    for number in range(NOTES_AT_ONCE + 6):
        observers[number % 2].attempted(attempted(Delivered()))
    assert buffer.pending == NOTES_AT_ONCE
    part = buffer.take()
    assert part is not None
    assert [row.flow for row in part.attempts] == ["a", "b"] * (NOTES_AT_ONCE // 2 + 3)
    assert len({row.id for row in part.attempts}) == NOTES_AT_ONCE + 6


def test_successes_can_be_counted_without_a_row() -> None:
    part = observed(attempted(Delivered()), attempted(Hold(), result=REFUSED), failures_only=True)
    assert [row.outcome for row in part.attempts] == ["hold"]
    assert sum(one.attempts for one in part.minutes) == 2


def test_ids_are_uuids_of_version_7_that_ascend_even_if_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = time.time_ns()
    moments = iter([now_ns] * 3 + [now_ns - 10**9] * 4)
    monkeypatch.setattr(module.time, "time_ns", lambda: next(moments))
    ids, others = RecordIds(), RecordIds()
    made = [one for count in (2, 64, 4096, 0, 1, 64) for one in ids.take(count)]
    assert sorted(set(made)) == made
    assert not {*others.take(64)}.intersection(made)
    for one in (uuid.UUID(made[0]), uuid.UUID(made[-1])):
        assert (one.version, one.variant) == (7, uuid.RFC_4122)
        assert abs((one.int >> 80) - now_ns // 10**6) < 10


class Tracked(bytes):
    """A body whose end can be observed."""

    freed = False

    def __del__(self) -> None:
        Tracked.freed = True


def test_a_record_keeps_no_body_in_memory() -> None:
    now = utc_now()
    event = Event(id="e", source="s", type="t", time=now, accepted_at=now, body=Tracked(b"body"))
    one = attempted(Delivered(), of=replace(envelope(), event=event))
    del event
    part = observed(one)
    one.delivery.ack()  # an unsettled delivery is part of a cycle
    del one
    assert Tracked.freed
    assert len(part.attempts) == 1


def test_a_success_of_a_handler_has_no_status_and_that_of_a_duplicate_a_reason() -> None:
    rows = [row_of(attempted(Delivered(), result=Succeeded(reason=reason))) for reason in (None, "duplicate")]
    assert [(row.outcome, row.status, row.reason) for row in rows] == [
        ("delivered", None, None),
        ("delivered", None, "duplicate"),
    ]
