"""One wide line for each attempt, and no flood of warnings."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from eventflow.errors import DeliveryLostError
from eventflow.event import Event, utc_now
from eventflow.message import Envelope, Failure
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry, Word
from eventflow.topology import Lane
from eventflow_processor.attempt import Attempted
from eventflow_processor.observe.log import AttemptLog
from eventflow_processor.target.result import Failed, Result, Succeeded
from tests.support import attempts

NOW = utc_now()
ENVELOPE = Envelope(
    event=Event(id="e-1", source="/", type="t", time=NOW, accepted_at=NOW, body=b"secret"),
    attempt=2,
)
REFUSED = Failed(reason="client_error", status=422)
UNREACHED = Failed(reason="connection", detail="no_listener")


def failed(reason: str) -> Envelope:
    failure = Failure(reason=reason, status=422, first_at=NOW, last_at=NOW)
    return Envelope(event=ENVELOPE.event, attempt=3, failure=failure)


def attempted(result: Result, outcome: Outcome | None, error: Exception | None = None) -> Attempted:
    return attempts.attempted(
        outcome, of=ENVELOPE, lane=Lane.DUE, result=result, error=error, duration_s=0.25, settlement_s=0.5
    )


def lines_of(*seen: Attempted) -> list[MutableMapping[str, Any]]:
    with capture_logs() as lines:
        log = AttemptLog(flow="f")
        for one in seen:
            log.attempted(one)
    return lines


@pytest.mark.parametrize(
    ("result", "outcome", "level", "word", "queue"),
    [
        (Succeeded(status=200), Delivered(), "debug", "delivered", None),
        (REFUSED, Retry(envelope=failed("client_error"), delay_s=5), "info", "retry", "eventflow.f.retry.5000"),
        (REFUSED, Defer(delay_s=1), "debug", "defer", "eventflow.f.retry.1000"),
        (REFUSED, Hold(), "debug", "hold", None),
        (REFUSED, DeadLetter(envelope=failed("too_large")), "error", "dead", "eventflow.f.dead"),
    ],
)
def test_each_outcome_has_its_level_and_its_word(
    result: Result, outcome: Outcome, level: str, word: Word, queue: str | None
) -> None:
    (line,) = lines_of(attempted(result, outcome))
    assert (line["event"], line["log_level"], line["outcome"], line.get("queue")) == (
        "delivery.attempted",
        level,
        word,
        queue,
    )
    assert {name: line[name] for name in ("flow", "event_id", "attempt", "lane", "duration_s", "settlement_s")} == {
        "flow": "f",
        "event_id": "e-1",
        "attempt": 2,
        "lane": "due",
        "duration_s": 0.25,
        "settlement_s": 0.5,
    }
    assert b"secret" not in line.values()
    assert None not in line.values()


def test_a_dead_letter_has_the_reason_that_it_is_given_up_for() -> None:
    (line,) = lines_of(attempted(REFUSED, DeadLetter(envelope=failed("too_large"))))
    assert (line["status"], line["reason"]) == (422, "too_large")


def test_a_failure_in_the_network_is_a_warning_once_a_minute_for_each_detail() -> None:
    other = Failed(reason="connection", detail="not_resolved")
    lines = lines_of(*(attempted(result, Defer(delay_s=1)) for result in (UNREACHED, UNREACHED, other, UNREACHED)))
    assert [line["log_level"] for line in lines] == ["warning", "debug", "warning", "debug"]
    assert lines[0]["detail"] == "no_listener"
    assert "nothing listens" in lines[0]["meaning"]


def test_an_attempt_whose_settlement_is_lost_is_a_warning_of_its_own() -> None:
    (line,) = lines_of(attempted(Succeeded(status=200), None, DeliveryLostError("closed")))
    assert (line["event"], line["log_level"], line["reason"]) == ("delivery.lost", "warning", "closed")


def test_a_duplicate_is_a_success_with_its_reason() -> None:
    (line,) = lines_of(attempted(Succeeded(reason="duplicate"), Delivered()))
    assert (line["outcome"], line["reason"], "status" in line) == ("delivered", "duplicate", False)
