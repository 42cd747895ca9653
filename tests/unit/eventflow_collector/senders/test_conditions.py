"""Conditions on a request: by value, by type, by absence; the cheap ones first."""

import json

import pytest

from eventflow.senders.vocabulary import (
    Condition,
    FirstMember,
    FormField,
    Header,
    Place,
    Pointer,
    Query,
    Scalar,
    SubPath,
)
from eventflow_collector.senders.conditions import all_fulfilled, fulfilled
from eventflow_collector.senders.request import Request
from tests.support.requests import request_of

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def of(document: object) -> Request:
    return request_of({}, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("place", "request_"),
    [
        (Header("X-Event"), request_of({"x-event": "ping"})),
        (Query("event"), request_of({}, query="event=p%69ng&event=other")),
        (FormField("event"), request_of(FORM, b"a=b&event=ping")),
        (SubPath(), request_of({}, sub_path="/ping")),
        (FirstMember("event"), of({"event": "ping"})),
        (Pointer("/a/0/event"), of({"a": [{"event": "ping"}]})),
    ],
)
def test_a_value_is_the_one_at_its_place(place: Place, request_: Request) -> None:
    assert fulfilled(Condition(place=place))(request_)
    assert fulfilled(Condition(place=place, equals="ping"))(request_)
    assert fulfilled(Condition(place=place, begins="PI"))(request_)
    assert not fulfilled(Condition(place=place, equals="pin"))(request_)
    assert not fulfilled(Condition(place=place, begins="in"))(request_)
    assert not fulfilled(Condition(place=place, is_absent=True))(request_)
    nothing = request_of({})
    assert fulfilled(Condition(place=place, is_absent=True))(nothing)
    assert not fulfilled(Condition(place=place))(nothing)
    assert not fulfilled(Condition(place=place, equals="ping"))(nothing)
    assert not fulfilled(Condition(place=place, begins="p"))(nothing)


@pytest.mark.parametrize(
    ("expected", "value", "is_fulfilled"),
    [
        (1, 1, True),
        (1, True, False),
        (1, 1.0, False),
        (1, "1", False),
        (True, True, True),
        (True, 1, False),
        ("1", 1, False),
        ([], [], True),
        ([], {}, False),
        ([], [1], False),
        ("a/b", "a/b", True),
        ("\u00fc", "\u00fc", True),
        ("a.b-C_ 1", "a.b-C_ 1", True),
        ("a", ["a"], False),
    ],
)
def test_values_of_json_are_equal_with_their_types(expected: Scalar, value: object, is_fulfilled: bool) -> None:
    assert fulfilled(Condition(place=Pointer("/x"), equals=expected))(of({"x": value})) is is_fulfilled


def test_a_number_elsewhere_is_its_digits() -> None:
    assert fulfilled(Condition(place=Header("X-N"), equals=1))(request_of({"X-N": "1"}))


@pytest.mark.parametrize("value", [{}, [], {"a": 1}, 0, False])
def test_any_value_but_an_empty_text_is_there(value: object) -> None:
    assert fulfilled(Condition(place=Pointer("/x")))(of({"x": value}))


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_text_does_not_count_but_null_in_json_is_not_absent(value: object) -> None:
    assert not fulfilled(Condition(place=Pointer("/x")))(of({"x": value}))
    assert not fulfilled(Condition(place=Pointer("/x"), is_absent=True))(of({"x": value}))
    assert not fulfilled(Condition(place=Pointer("/1"), is_absent=True))(of([1, value]))
    assert fulfilled(Condition(place=Pointer("/1"), is_absent=True))(of([1]))
    assert fulfilled(Condition(place=Pointer("/x/y"), is_absent=True))(of({"x": value}))
    assert fulfilled(Condition(place=Header("X-N"), is_absent=True))(request_of({"X-N": ""}))


def test_the_body_is_parsed_only_if_it_is_needed() -> None:
    class Unparsed(Request):
        @property
        def document(self) -> object:
            raise AssertionError

    check = all_fulfilled(
        [Condition(place=Pointer("/type"), equals="ping"), Condition(place=Header("X-Ping"), equals="1")]
    )
    without_header = request_of({}, b'{"type": "ping"}')
    without_text = request_of({"X-Ping": "1"}, b'{"type": "order"}')
    for request in (without_header, without_text):
        assert not check(Unparsed(request.head, request.body))
    assert check(request_of({"X-Ping": "1"}, b'{"type": "ping"}'))
    assert all_fulfilled([])(without_header)
