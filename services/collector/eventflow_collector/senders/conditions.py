"""Demands on the places of a request. Pure."""

from collections.abc import Callable, Iterable

from eventflow.json_pointer import value_at
from eventflow.senders.vocabulary import Condition, Pointer
from eventflow_collector.senders.request import Request, text_finder

Test = Callable[[Request], bool]


def test_of(conditions: Iterable[Condition]) -> Test | None:
    """Prepare to test whether a request fulfills all conditions; None if there are none."""
    tests = tuple(map(_test_of, conditions))
    match tests:
        case ():
            return None
        case (test,):
            return test
    return lambda request: all(test(request) for test in tests)


def _test_of(condition: Condition) -> Test:
    place, expected = condition.place, condition.equals
    find = text_finder(place)
    if condition.is_absent:
        return lambda request: find(request) is None
    if condition.begins is not None:
        beginning = condition.begins.lower()
        return lambda request: (find(request) or "").lower().startswith(beginning)
    if isinstance(place, Pointer):
        path = place.pointer
        if expected is None:
            return lambda request: value_at(request.document, path) is not None
        return lambda request: _is_same(value_at(request.document, path), expected)
    if expected is None:
        return lambda request: find(request) is not None
    written = str(expected)
    return lambda request: find(request) == written


def _is_same(value: object, expected: object) -> bool:
    """Whether two values of JSON are equal; True and 1 are not."""
    return value == expected and isinstance(value, bool) is isinstance(expected, bool)
