"""Records: failures, and texts that every store accepts."""

import pytest

from eventflow.history.records import LOST, is_failure, storable, storable_text
from tests.support.history import attempt


def test_texts_without_utf_8_and_with_nul_are_made_storable_and_all_others_stay():
    assert storable_text("a\0b\ud800c\U0001f600d") == "a\ufffdb\ufffdc\U0001f600d"


@pytest.mark.parametrize("field", ["event_id", "type", "source", "subject", "text", "answer_type"])
def test_each_text_from_outside_is_made_storable(field):
    record = attempt(**{field: "caf\u00e9 \0 \udcff"})
    assert storable(record) == record._replace(**{field: "caf\u00e9 \ufffd \ufffd"})


def test_a_usual_record_is_not_copied():
    record = attempt(answer=b"\0\xff")
    assert storable(record) is record


@pytest.mark.parametrize(
    ("outcome", "settled", "expected"),
    [("delivered", True, False), ("delivered", False, True), (LOST, False, True), ("dead", True, True)],
)
def test_whatever_is_not_a_settled_success_is_a_failure(outcome, settled, expected):
    assert is_failure(attempt(outcome=outcome, settled=settled)) is expected
