"""The history in sentences."""

from datetime import timedelta

import pytest

from eventflow.history.records import LOST, OUTCOMES, Gap
from eventflow.operations.history.words import absence_of, gap_sentences, sentence_of
from eventflow.settings.history import HistorySettings
from tests.support.history import NOON, attempt


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "attempt 1, lane events, was delivered: HTTP 200"),
        (
            {"attempt": 2, "lane": "due", "outcome": "retry", "reason": "client_error", "status": 422}
            | {"next_at": NOON + timedelta(seconds=5)},
            "attempt 2, lane due, failed; next attempt from 2026-01-02T12:00:05.000Z: client_error, HTTP 422",
        ),
        (
            {"outcome": "dead", "reason": "timeout", "text": "after 5 s", "status": None},
            'attempt 1, lane events, failed and was the last attempt: timeout, "after 5 s"',
        ),
        (
            {"outcome": LOST, "settled": False},
            "attempt 1, lane events, was not settled, so the event is delivered again: HTTP 200",
        ),
        (
            {"settled": False},
            "attempt 1, lane events, was delivered, and was not settled, so the event is delivered again: HTTP 200",
        ),
        ({"outcome": "later version", "status": None}, "attempt 1, lane events, later version"),
    ],
)
def test_an_attempt_is_one_sentence(fields: dict[str, object], sentence: str) -> None:
    assert sentence_of(attempt(**fields)) == sentence


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_has_words(outcome: str) -> None:
    assert f", {outcome}:" not in sentence_of(attempt(outcome=outcome))


def test_gaps_of_the_same_flow_and_reason_are_one_sentence() -> None:
    def gap(minute: int, attempts: int, reason: str = "buffer_full") -> Gap:
        since = NOON + timedelta(minutes=minute)
        return Gap(writer="p", flow="a", since=since, until=since, attempts=attempts, reason=reason)

    refused, full = gap_sentences([gap(3, 5), gap(1, 2), gap(2, 1, "refused")])[::-1]
    assert full == (
        "not on record: 7 attempts of flow a from 2026-01-02T12:01:00.000Z to 2026-01-02T12:03:00.000Z, because the "
        "store was away or too slow"
    )
    assert refused.startswith("not on record: 1 attempt of flow a from")
    assert refused.endswith("the store accepted no such rows")
    assert gap_sentences([]) == []


def test_an_absent_event_is_explained_by_what_was_searched() -> None:
    assert "may still wait in a queue" in absence_of(None)
    assert absence_of(HistorySettings()) == (
        "It was not attempted yet, it never arrived, or its attempts are older than 7 days and deleted."
    )
    assert "was delivered at once" in absence_of(HistorySettings(record="failed"))
    assert "older than 1 day and" in absence_of(HistorySettings(retention_days=1))
