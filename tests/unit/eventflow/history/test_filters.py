"""Selections of attempts: those without an index are refused, with the remedy."""

from datetime import UTC, datetime, timedelta

import pytest

from eventflow.errors import UnboundedFilterError
from eventflow.event import new_event_id
from eventflow.history.filters import FAILURES, RANGE_MAX, AttemptFilter, Cursor

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"outcome": "dead"},
        {"since": NOON - timedelta(days=60)},
        {"outcome": FAILURES, "reason": "timeout", "status": 422, "type": "order.paid"},
        {"type": "order.paid", "since": NOON - RANGE_MAX, "until": NOON},
        {"outcome": "delivered", "since": NOON - RANGE_MAX, "until": NOON},
    ],
)
def test_a_bounded_selection_is_accepted(conditions):
    AttemptFilter(flow="default", **conditions)


@pytest.mark.parametrize(
    "conditions",
    [
        {"outcome": "delivered"},
        {"type": "order.paid"},
        {"status": 200, "since": NOON},
        {"outcome": "delivered", "type": "order.paid", "since": NOON - RANGE_MAX, "until": NOON + timedelta(seconds=1)},
    ],
)
def test_an_unbounded_selection_is_refused_with_the_remedy(conditions):
    with pytest.raises(UnboundedFilterError, match=rf"`{FAILURES}`.*both ends"):
        AttemptFilter(flow="default", **conditions)


def test_an_unknown_outcome_is_refused_with_the_known_ones():
    with pytest.raises(UnboundedFilterError, match=r"'delivred' is unknown.*delivered"):
        AttemptFilter(flow="default", outcome="delivred")


@pytest.mark.parametrize(
    "moment",
    [NOON + timedelta(microseconds=123_457), datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
)
def test_a_cursor_survives_an_address_to_the_microsecond(moment):
    cursor = Cursor(moment, new_event_id())
    assert Cursor.parse(cursor.text) == cursor


@pytest.mark.parametrize(
    "text",
    ["", "1", "x.y", f"٣.{'0' * 36}", f"{'9' * 18}.{'0' * 36}", f"1.{'0' * 35}", f"1.{'x' * 36}", f"1.{'-' * 36}"],
)
def test_a_malformed_cursor_is_refused(text):
    with pytest.raises(ValueError, match="malformed"):
        Cursor.parse(text)
