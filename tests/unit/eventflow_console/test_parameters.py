"""Parameters of addresses as values."""

from datetime import UTC, datetime, timedelta

import pytest

from eventflow.errors import InvalidInputError, UnboundedFilterError
from eventflow.history.filters import AttemptFilter
from eventflow.operations.dead.selection import Selection
from eventflow_console.parameters import (
    IDS_MAX,
    attempts_in,
    cursor_in,
    event_id_in,
    flow_in,
    letters_in,
    limit_in,
    named_flow_in,
    ordered_flow_in,
    rate_in,
)
from eventflow_console.refusals import RequestRefusedError


def test_a_flow_is_the_named_one_or_the_only_one_or_the_default():
    assert flow_in({"flow": "b"}, ["a", "b"]) == "b"
    assert flow_in({}, ["a"]) == "a"
    assert flow_in({"flow": ""}, ["default", "a"]) == "default"
    assert named_flow_in({}, ["a"]) is None
    for flows in (["a", "b"], ["a"]):
        with pytest.raises(RequestRefusedError, match="these exist: a"):
            flow_in({"flow": "c"} if flows == ["a"] else {}, flows)


def test_an_order_must_name_its_flow():
    with pytest.raises(InvalidInputError, match="flow"):
        ordered_flow_in({}, ["a"])
    assert ordered_flow_in({"flow": "a"}, ["a"]) == "a"


def test_an_empty_parameter_is_no_condition():
    empty = dict.fromkeys(("outcome", "reason", "status", "type", "since", "until"), "")
    assert attempts_in(empty, "a") == AttemptFilter(flow="a")
    assert letters_in(empty) == Selection()


def test_times_are_absolute_or_before_now():
    selection = attempts_in({"since": "2026-11-28T02:00", "until": "2026-11-28"}, "a")
    assert selection.since == datetime(2026, 11, 28, 2, tzinfo=UTC)
    assert selection.until == datetime(2026, 11, 28, tzinfo=UTC)
    an_hour_ago = attempts_in({"since": "1h"}, "a").since
    assert an_hour_ago is not None
    assert abs(datetime.now(UTC) - timedelta(hours=1) - an_hour_ago) < timedelta(minutes=1)


def test_dead_letters_are_selected_by_all_their_conditions():
    selection = letters_in({"reason": "timeout", "status": "504", "type": "a"}, ["1", "2"])
    assert selection.reasons == {"timeout"}
    assert selection.statuses == {504}
    assert selection.ids == {"1", "2"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"status": "99"},
        {"status": "1000"},
        {"status": "-5"},
        {"status": "4 2"},
        {"status": "٤٢٢"},
        {"since": "tomorrow"},
        {"until": "x" * 10_000},
        {"type": "a\x00b"},
        {"reason": "\ud800"},
    ],
)
def test_a_malformed_parameter_is_refused_in_a_short_sentence(parameters: dict[str, str]):
    for read in (lambda: attempts_in({"outcome": "failures", **parameters}, "a"), lambda: letters_in(parameters)):
        with pytest.raises(InvalidInputError) as caught:
            read()
        assert len(str(caught.value)) < 400


def test_a_selection_without_an_index_is_refused():
    with pytest.raises(UnboundedFilterError):
        attempts_in({"type": "a"}, "a")


@pytest.mark.parametrize("ids", [["x"] * (IDS_MAX + 1), [""], ["a\n"], ["x" * 256]])
def test_ids_that_no_event_has_and_too_many_are_refused(ids: list[str]):
    with pytest.raises(InvalidInputError, match="ids"):
        letters_in({}, ids)


@pytest.mark.parametrize("text", ["", " ", "\x00", "x" * 256, "\ud800"])
def test_an_id_that_no_event_can_have_is_refused(text: str):
    with pytest.raises(InvalidInputError, match="id"):
        event_id_in({"id": text})


def test_an_id_is_taken_without_the_spaces_around_it():
    assert event_id_in({"id": " a b\t"}) == "a b"


@pytest.mark.parametrize("text", ["0", "201", "-1", "1.5", "1e2", "²", "9" * 50])
def test_a_limit_out_of_range_is_refused(text: str):
    with pytest.raises(InvalidInputError, match="1 to 200"):
        limit_in({"limit": text})


def test_a_rate_is_a_number_or_that_of_the_settings():
    assert rate_in("2.5") == 2.5
    assert rate_in("configured") is None
    for text in ("", "0", "-1", "nan", "inf", "fast", "1" * 500):
        with pytest.raises(InvalidInputError):
            rate_in(text)


@pytest.mark.parametrize("text", ["x", "1", "1.2", "1.0190aaaa", "9" * 40])
def test_a_malformed_cursor_is_refused(text: str):
    with pytest.raises(InvalidInputError, match="after"):
        cursor_in({"after": text})
    assert cursor_in({"after": ""}) is None
