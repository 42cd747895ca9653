"""Strict parsing of JSON: bounded in depth, without NaN and lone surrogates, in UTF-8 only. Pure.

Only a body that declares events in JSON is parsed. Any other body is opaque.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

from eventflow.errors import InvalidEventError

MAX_DEPTH = 64

BOM = "\ufeff"
"""Byte order mark, which some senders write in front of JSON. RFC 8259 allows a parser to ignore it."""

_BLANK = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(body: bytes) -> Any:
    """Parse a document.

    Raises:
        InvalidEventError: It is not JSON, or is beyond the bounds.
    """
    text = _text(body)
    value, end = _value_at(text, _skip_blank(text, 0))
    _require_end(text, end)
    return value


def has_repeated_name(body: bytes) -> bool:
    """Whether an object in JSON has two members of one name, of which each parser chooses one."""
    is_repeated = False

    def note(members: list[tuple[str, Any]]) -> None:
        nonlocal is_repeated
        is_repeated = is_repeated or len(dict(members)) < len(members)

    with suppress(ValueError, RecursionError):
        json.loads(body.decode().removeprefix(BOM), object_pairs_hook=note)
    return is_repeated


def elements(body: bytes) -> Iterator[tuple[Any, bytes]]:
    """Yield the elements of an array, each with the bytes that it was written in.

    Raises:
        InvalidEventError: As `parse`, or it is not an array. The elements that were yielded before must not be used.
    """
    text = _text(body)
    position = _skip_blank(text, 0)
    if text[position : position + 1] != "[":
        raise InvalidEventError("a JSON array is expected")
    position = _skip_blank(text, position + 1)
    if text[position : position + 1] == "]":
        _require_end(text, position + 1)
        return
    while True:
        value, end = _value_at(text, position)
        yield value, text[position:end].encode()
        end = _skip_blank(text, end)
        position = _skip_blank(text, end + 1)
        match text[end : end + 1]:
            case ",":
                continue
            case "]":
                break
        raise InvalidEventError("the JSON is malformed")
    _require_end(text, position)


def _text(body: bytes) -> str:
    try:
        return body.decode().removeprefix(BOM)
    except UnicodeDecodeError as error:
        raise InvalidEventError("the JSON is not UTF-8") from error


def _value_at(text: str, position: int) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, position)
    except RecursionError as error:
        raise InvalidEventError(f"the JSON is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:  # which includes a number of too many digits
        raise InvalidEventError("the JSON is malformed") from error
    _require_bounds(value, text[position:end])
    return value, end


def _require_bounds(value: Any, text: str) -> None:
    """Check for values that the parser accepts and we do not."""
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(value):
        raise InvalidEventError(f"the JSON is nested deeper than {MAX_DEPTH} levels")
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InvalidEventError("the JSON has a lone surrogate") from error


def _is_deeper(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
    return bool(level)


def _children(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _skip_blank(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return position if blank is None else blank.end()


def _require_end(text: str, position: int) -> None:
    if _skip_blank(text, position) != len(text):
        raise InvalidEventError("the JSON is malformed")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
