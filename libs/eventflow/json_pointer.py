"""JSON pointers (RFC 6901). Pure."""

import re
from typing import Final

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")

ALL = "*"
"""Step that stands for all elements of an array, in pointers to several values."""


NOWHERE: Final = object()
"""Result of a pointer that leads nowhere, if null must not have the same one."""


def is_pointer(text: str) -> bool:
    """Whether a text is a JSON pointer. The empty one leads to the whole document."""
    return _POINTER.fullmatch(text) is not None


def value_at(document: object, pointer: str, *, nowhere: object = None) -> object:
    """Return the value that a JSON pointer leads to; `nowhere` if it leads nowhere."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        match document:
            case dict():
                document = document.get(name, nowhere)
            case list() if name.isascii() and name.isdecimal() and (name == "0" or name[0] != "0") and len(name) < 10:
                document = document[int(name)] if int(name) < len(document) else nowhere
            case _:
                return nowhere
    return document


def values_at(document: object, pointer: str) -> list[object]:
    """Return the values that a JSON pointer leads to, in which a step `*` stands for all elements of an array.

    A path that leads nowhere counts as a value of None, so that a missing value is not overlooked.
    """
    values = [document]
    for step in pointer.split("/")[1:]:
        values = [found for value in values for found in _step(value, step)]
    return values


def _step(value: object, step: str) -> list[object]:
    return value if step == ALL and isinstance(value, list) else [value_at(value, f"/{step}")]
