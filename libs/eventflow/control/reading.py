"""Strict reading of the fields of a JSON object. Pure.

Each reader raises KeyError for a missing field, TypeError for one of another type, ValueError for one out of range.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

INTEGER_BITS = 63


def optional(read: Callable[[Any], T], value: Any) -> T | None:
    """Return None for null, else the value as `read` returns it."""
    return None if value is None else read(value)


def unbounded(fields: Mapping[str, Any], name: str) -> float | None:
    """Return a number that may be infinite, which is null in JSON; None if the field is missing."""
    if name not in fields:
        return None
    return math.inf if fields[name] is None else number(fields[name])


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def text(value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def boolean(value: Any) -> bool:
    """Return a Boolean."""
    if not isinstance(value, bool):
        raise TypeError("not a Boolean")
    return value


def integer(value: Any) -> int:
    """Return an integer of 64 bits; JSON as Python reads it has larger ones, which no float can hold."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not an integer")
    if value.bit_length() > INTEGER_BITS:
        raise ValueError("not an integer of 64 bits")
    return value


def number(value: Any) -> float:
    """Return a finite number; JSON as Python reads it has NaN, infinities, and integers too large for a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("not a number")
    try:
        found = float(value)
    except OverflowError:
        raise ValueError("no finite number") from None
    if not math.isfinite(found):
        raise ValueError("no finite number")
    return found
