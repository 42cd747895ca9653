"""Extension attributes of CloudEvents 1.0: their names, their values, and the bounds of all of them together. Pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#extension-context-attributes

Every value is kept as text: CloudEvents defines such a form for each type, and a program may use it for any attribute.
A structured CloudEvent keeps its types all the same, because its body is passed on byte for byte.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from eventflow.errors import InvalidEventError
from eventflow.event import is_valid_text

EXTENSIONS_MAX: Final = 64
"""Together with our own headers fewer than the 100 that HTTP servers of Python accept."""

EXTENSIONS_MAX_BYTES: Final = 8 * 1024
"""Limit of all names and values of an event together."""

_NAME = re.compile(r"[a-z0-9]{1,64}")
"""CloudEvents asks for at most 20 characters, and does not forbid more."""

_NAME_SHOWN_CHARACTERS = 64

CORE_ATTRIBUTES: Final = frozenset(
    {"specversion", "id", "source", "type", "time", "subject", "datacontenttype", "dataschema", "data", "data_base64"}
)
"""The attributes of the core, and the two members of JSON that hold the data. None of these names is an extension."""


def is_extension_name(name: str) -> bool:
    """Whether an attribute with this name is an extension: lower-case letters and digits, and no name of the core."""
    return name not in CORE_ATTRIBUTES and _NAME.fullmatch(name) is not None


def extensions_of(given: Iterable[tuple[str, object]]) -> Mapping[str, str] | None:
    """Return those of the given attributes that an event can have as extensions, in their order; None if it has none.

    Left out are attributes that are no extensions by their names or their values, and those beyond the bounds. Of
    several with one name the first counts.
    """
    extensions: dict[str, str] = {}
    left_bytes = EXTENSIONS_MAX_BYTES
    for name, value in given:
        text = _text_of(value) if is_extension_name(name) and name not in extensions else None
        if text is None or not is_valid_text(text):
            continue
        size_bytes = len(name) + len(text.encode())
        if size_bytes <= left_bytes and len(extensions) < EXTENSIONS_MAX:
            left_bytes -= size_bytes
            extensions[name] = text
    return extensions or None


def require_extensions(given: Mapping[str, object]) -> Mapping[str, str] | None:
    """Return the given attributes as extensions, if an event can have all of them; None if there are none.

    Raises:
        InvalidEventError: It cannot have all of them; the message has the reason.
    """
    extensions = extensions_of(given.items())
    if len(extensions or ()) == len(given):
        return extensions
    for name, value in given.items():
        if not is_extension_name(name):
            raise InvalidEventError(
                f"{name[:_NAME_SHOWN_CHARACTERS]!r} is no name of an extension attribute: lower-case letters and "
                "digits are expected"
            )
        text = _text_of(value)
        if text is None or not is_valid_text(text):
            raise InvalidEventError(f"the extension attribute {name} is too long, or has control characters")
    raise InvalidEventError(
        f"at most {EXTENSIONS_MAX} extension attributes of {EXTENSIONS_MAX_BYTES} bytes together are taken"
    )


def _text_of(value: object) -> str | None:
    """Return the text of a string, a boolean or an integer; None for a value of another type."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return None
