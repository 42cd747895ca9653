"""Attempts column by column, and as PostgreSQL copies them."""

import pytest

from eventflow.history.columns import columns_of
from eventflow.history.postgres.copying import copied
from tests.support.history import attempt


def test_columns_with_one_value_are_apart_and_those_that_are_null_are_left_out() -> None:
    attempts = [attempt(event_id=event_id, id="0", status=status) for event_id, status in (("a", 200), ("b", None))]
    columns = columns_of(attempts)
    assert columns.rows == 2
    assert columns.varying == {"event_id": ("a", "b"), "status": (200, None)}
    assert columns.same.keys() == attempts[0]._asdict().keys() - columns.varying.keys() - {
        *("subject", "reason", "detail", "text", "next_at", "answer", "answer_type", "answer_bytes", "trace_id"),
    }
    assert columns.same["flow"] == "default"


def test_equal_attempts_are_that_many_rows() -> None:
    one, two = columns_of([attempt(id="0" * 32)]), columns_of([attempt(id="0" * 32)] * 2)
    assert two.varying == {}
    signature, end = 19, 2
    assert copied(two)[signature:-end] == 2 * copied(one)[signature:-end]


@pytest.mark.parametrize("wrong", [{"attempt": 1 << 31}, {"duration_us": 1 << 63}, {"id": "no digits"}], ids=str)
def test_a_value_that_does_not_fit_its_column_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        copied(columns_of([attempt(**wrong)]))
