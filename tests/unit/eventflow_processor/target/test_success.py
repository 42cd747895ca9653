"""Which answers are a success: by status, and by a rule on the body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.json_pointer import value_at
from eventflow.settings.target import TargetSettings
from eventflow_processor.target.success import UNREADABLE, SuccessRule, parsed, success_rule

RFC_6901 = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", RFC_6901),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
        ("/foo/2", None),
        ("/foo/-", None),
        ("/foo/00", None),
        ("/foo/0/x", None),
        ("/nowhere/at/all", None),
    ],
)
def test_pointers_lead_where_rfc_6901_says(pointer: str, value: object) -> None:
    assert value_at(RFC_6901, pointer) == value


@given(st.text(), st.sampled_from([RFC_6901, [], "x", None, 1, [[{}]]]))
def test_no_pointer_fails(pointer: str, document: object) -> None:
    value_at(document, "/" + pointer)


def test_a_value_that_says_no_is_none() -> None:
    rule = SuccessRule(absent=("/error",))
    for nothing in (None, False, "", [], {}):
        assert not rule.refuses({"error": nothing})
    for something in (0, 0.0, "x", True, [None], {"code": None}):
        assert rule.refuses({"error": something})


def test_a_body_that_cannot_be_read_is_refused_by_any_rule_and_by_no_other() -> None:
    for body in (b"{", b"\xff", b"<html>", b"[" * 100_000, None):
        assert parsed(body) is UNREADABLE
    for rule in (SuccessRule(present=("/a",)), SuccessRule(absent=("/a",)), SuccessRule(is_graphql=True)):
        assert rule.refuses(UNREADABLE)
    assert not SuccessRule().refuses(UNREADABLE)


NO_RESULT: list[object] = [{}, {"a": None}, [], "null", None]


@pytest.mark.parametrize("data", NO_RESULT)
def test_errors_of_graphql_are_a_failure_unless_there_is_a_result(data: object) -> None:
    rule = SuccessRule(is_graphql=True)
    assert rule.refuses({"errors": [{"message": "x"}], "data": data})
    assert not rule.refuses({"errors": [{"message": "x"}], "data": {"a": {"id": 1}, "b": None}})


def test_graphql_without_data_is_a_failure_whatever_it_has_instead() -> None:
    rule = SuccessRule(is_graphql=True)
    for body in ({}, {"data": None}, {"error": "x"}, {"message": "x"}, {"errors": []}, [], "x", 0, False):
        assert rule.refuses(body)
    for body in ({"data": {}}, {"data": {"a": None}}, {"data": {"a": 1}, "errors": []}, None):
        assert not rule.refuses(body)


@pytest.mark.parametrize(
    ("setting", "statuses"),
    [
        ("200-299", range(200, 300)),
        ("2xx", range(200, 300)),
        ("200, 202,409", [200, 202, 409]),
        ([200, "300-302"], [200, 300, 301, 302]),
    ],
)
def test_success_statuses_are_a_list_of_statuses_ranges_and_classes(setting: object, statuses: range | list) -> None:
    assert success_rule(TargetSettings(success_status=setting)).statuses == set(statuses)


@pytest.mark.parametrize("setting", ["", "20", "100", "600", "299-200", "1xx", "2xx-3xx", "ok", "200-"])
def test_what_names_no_status_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="success_status"):
        TargetSettings(success_status=setting)


@pytest.mark.parametrize("setting", ["ok", "/a~", "/~2", "#/a"])
def test_what_is_no_pointer_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="JSON pointer"):
        TargetSettings(failure_pointer=setting)
