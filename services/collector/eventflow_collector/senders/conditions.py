"""Conditions on a request: they separate handshakes from events, and the schemes of a sender from each other. Pure."""

import re
from collections.abc import Callable, Iterable

from eventflow.json_pointer import NOWHERE, value_at
from eventflow.senders.vocabulary import Condition, FirstMember, FormField, Place, Pointer
from eventflow_collector.senders.request import Request, text_finder

IsFulfilled = Callable[[Request], bool]

_UNESCAPED = re.compile(r"[A-Za-z0-9_. -]+")
"""Texts that every encoder of JSON writes as they are."""


def all_fulfilled(conditions: Iterable[Condition]) -> IsFulfilled:
    """Prepare to check conditions. Cheap ones come first: the body may have to be parsed for the others."""
    checks = tuple(map(fulfilled, sorted(conditions, key=lambda condition: _cost_of(condition.place))))
    if len(checks) == 1:
        return checks[0]
    return lambda request: all(check(request) for check in checks)


def fulfilled(condition: Condition) -> IsFulfilled:
    """Prepare to check one condition. An empty text is no value; in JSON it is not absent either."""
    find, expected = _value_finder(condition.place), condition.equals
    if condition.is_absent:
        return _absence_of(condition.place)
    if condition.begins is not None:
        beginning = condition.begins.lower()
        return lambda request: isinstance(value := find(request), str) and value.lower().startswith(beginning)
    if expected is None:
        return lambda request: not _is_absent(find(request))
    if not isinstance(condition.place, Pointer):
        text = str(expected)
        return lambda request: find(request) == text
    if isinstance(expected, str) and _UNESCAPED.fullmatch(expected):
        written = b'"%b"' % expected.encode()
        return lambda request: written in request.body and find(request) == expected
    # `True == 1` in Python, and not in JSON.
    return lambda request: (value := find(request)) == expected and type(value) is type(expected)


def is_in_head(place: Place) -> bool:
    """Whether the text at a place can be found before the body has arrived."""
    return not isinstance(place, Pointer | FormField | FirstMember)


def _absence_of(place: Place) -> IsFulfilled:
    if isinstance(place, Pointer):
        # Not even null may be there: a target may read the elements of an array behind it.
        return lambda request: value_at(request.document, place.pointer, nowhere=NOWHERE) is NOWHERE
    find = text_finder(place)
    return lambda request: _is_absent(find(request))


def _is_absent(value: object) -> bool:
    return value is None or value == ""


def _cost_of(place: Place) -> int:
    return 0 if is_in_head(place) else 1 if isinstance(place, FirstMember) else 2


def _value_finder(place: Place) -> Callable[[Request], object]:
    """Prepare to find a value: in JSON of any type, elsewhere a text."""
    if isinstance(place, Pointer):
        pointer = place.pointer
        return lambda request: value_at(request.document, pointer)
    return text_finder(place)
