"""Records: failures, and texts that every store accepts."""

import pytest

from eventflow.history.records import LOST, is_failure, storable_attempts, storable_text
from tests.support.history import attempt


def test_texts_without_utf_8_and_with_nul_are_made_storable_and_all_others_stay():
    assert storable_text("a\0b\ud800c\U0001f600d") == "a\ufffdb\ufffdc\U0001f600d"


@pytest.mark.parametrize("field", ["event_id", "type", "source", "subject", "text", "answer_type"])
def test_each_text_from_outside_is_made_storable(field):
    usual, record = attempt(), attempt(**{field: "caf\u00e9 \0 \udcff"})
    assert storable_attempts([usual, record]) == [usual, record._replace(**{field: "caf\u00e9 \ufffd \ufffd"})]


def test_usual_records_are_not_copied():
    records = [attempt(answer=b"\0\xff"), attempt(subject="order-1")]
    assert storable_attempts(records) is records


@pytest.mark.parametrize(
    ("outcome", "settled", "expected"),
    [("delivered", True, False), ("delivered", False, True), (LOST, False, True), ("dead", True, True)],
)
def test_whatever_is_not_a_settled_success_is_a_failure(outcome, settled, expected):
    assert is_failure(attempt(outcome=outcome, settled=settled)) is expected
