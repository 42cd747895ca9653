"""Records as JSON objects."""

import json

import pytest

from eventflow.history.documents import action_document, document_of, gap_document, text_of
from eventflow.history.records import Action, AttemptRecord, Gap
from tests.support.history import NOON, attempt


def test_an_attempt_has_the_names_of_its_columns() -> None:
    document = document_of(attempt(answer=b'{"error": "sku"}'))
    assert set(document) == set(AttemptRecord._fields)
    assert (document["started_at"], document["answer"]) == ("2026-01-02T12:00:00.000Z", '{"error": "sku"}')
    json.dumps(document)


def test_an_answer_that_is_no_text_is_written_in_base64() -> None:
    document = document_of(attempt(answer=b"\xff\x00"))
    assert document["answer_base64"] == "/wA="
    assert "answer" not in document


def test_no_answer_is_null() -> None:
    assert document_of(attempt())["answer"] is None


@pytest.mark.parametrize(
    ("answer", "text"), [(b"", ""), ("é".encode(), "é"), ("aé".encode()[:-1], "a"), (b"\xe9a", None)]
)
def test_a_character_that_was_cut_is_left_out(answer: bytes, text: str | None) -> None:
    assert text_of(answer) == text


def test_gaps_and_actions_have_times_as_text() -> None:
    gap = Gap(writer="p", flow="default", since=NOON, until=NOON, attempts=3, reason="refused")
    action = Action(id="1", at=NOON, by="ana@host", flow="default", kind="pause")
    assert gap_document(gap)["since"] == action_document(action)["at"] == "2026-01-02T12:00:00.000Z"
