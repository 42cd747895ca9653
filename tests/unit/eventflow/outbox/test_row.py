"""Rows of the outbox as events, and back."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.errors import InvalidEventError
from eventflow.event import is_valid_attribute, is_valid_text
from eventflow.outbox import new_event
from eventflow.outbox.row import COLUMNS, event_of, insert_with, row_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)

attributes = st.text(min_size=1, max_size=60).filter(is_valid_attribute)
texts = st.text(min_size=1, max_size=200).filter(is_valid_text)


@given(id=attributes, type=attributes, source=texts, subject=st.none() | texts, body=st.binary(max_size=99))
def test_an_event_comes_back_from_its_row(**given: Any) -> None:
    event = new_event(**given, extensions={"tenant": "a"}, accepted_at=NOW)
    assert event_of({**row_of(event, flow="notify"), "created_at": NOW}) == event


def test_a_row_has_the_values_of_the_inserted_columns_in_their_order() -> None:
    row = row_of(new_event(type="a"), flow="notify")
    assert tuple(row) == COLUMNS
    assert insert_with("${number}").count("$") == len(COLUMNS)
    assert "CAST(:extensions AS jsonb)" in insert_with(":{name}")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": "a\nb"}, "id must be"),
        ({"type": " "}, "type must be"),
        ({"source": "\x00"}, "source must be"),
        ({"subject": ""}, "subject must be"),
        ({"content_type": "a\r\nb"}, "content_type must be"),
        ({"extensions": '{"ce-x": "a"}'}, "'ce-x' is no name of an extension attribute"),
        ({"extensions": '{"data": "a"}'}, "'data' is no name of an extension attribute"),
        ({"extensions": '{"tenant": null}'}, "the extension attribute tenant is too long"),
        ({"extensions": f'{{"tenant": "{"a" * 5000}"}}'}, "the extension attribute tenant is too long"),
    ],
)
def test_a_row_that_is_no_event_names_the_attribute(wrong: dict[str, Any], message: str) -> None:
    row = {**row_of(new_event(type="a"), flow="notify"), "created_at": NOW, **wrong}
    with pytest.raises(InvalidEventError, match=message):
        event_of(row)


def test_its_age_counts_from_the_insert() -> None:
    row = {**row_of(new_event(type="a"), flow="notify"), "created_at": NOW}
    assert event_of(row).accepted_at == NOW


@pytest.mark.parametrize("traceparent", ["日本", "00-a", f"00-{'1' * 32}-{'2' * 16}-01\r\nX: y"])
def test_a_trace_context_that_cannot_be_parsed_reaches_no_target(traceparent: str) -> None:
    row = {**row_of(new_event(type="a"), flow="notify"), "created_at": NOW, "traceparent": traceparent}
    assert event_of(row).traceparent is None
