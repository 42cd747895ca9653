"""Templates of texts, such as `{timestamp}.{body}[.{id}]`, as parts. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_TOKEN = re.compile(
    r"(?P<doubled>\{\{|\}\}|\[\[|\]\])|\{(?P<field>[a-z][a-z0-9_]*)\}|(?P<mark>[][{}])|(?P<text>[^][{}]+)"
)


@dataclass(frozen=True, slots=True)
class Field:
    """The place of a field's value."""

    name: str


@dataclass(frozen=True, slots=True)
class Optional:
    """A part that is left out if one of its fields is absent."""

    parts: "tuple[str | Field, ...]"


Part: TypeAlias = str | Field | Optional
"""A constant text, a field, or an optional part."""


def parse_template(template: str) -> tuple[Part, ...]:
    """Return the parts of a template.

    `{name}` is a field, `[...]` an optional part. A brace or bracket that stands for itself is written twice.

    Raises:
        ValueError: A brace or bracket is not closed, or an optional part is inside another or contains no field.
    """
    whole: list[Part] = []
    optional: list[str | Field] | None = None
    for part in _tokens(template):
        if part == _OPEN:
            if optional is not None:
                raise ValueError("a part in [brackets] is inside another one")
            optional = []
        elif part == _CLOSE:
            if optional is None or not any(isinstance(one, Field) for one in optional):
                raise ValueError("a ] closes nothing, or the part in [brackets] contains no {field}")
            whole.append(Optional(tuple(optional)))
            optional = None
        elif isinstance(part, str | Field):
            (whole if optional is None else optional).append(part)
    if optional is not None:
        raise ValueError("a [ is not closed; write [[ if it stands for itself")
    return tuple(whole)


def fields_in(parts: tuple[Part, ...]) -> Iterator[tuple[str, bool]]:
    """Yield the name of each field, and whether it is in an optional part."""
    for part in parts:
        if isinstance(part, Field):
            yield part.name, False
        elif isinstance(part, Optional):
            for name, _ in fields_in(part.parts):
                yield name, True


@dataclass(frozen=True, slots=True)
class _Mark:
    """A bracket that begins or ends an optional part."""

    character: str


_OPEN = _Mark("[")
_CLOSE = _Mark("]")


def _tokens(template: str) -> Iterator[str | Field | _Mark]:
    for token in _TOKEN.finditer(template):
        if token["doubled"]:
            yield token["doubled"][0]
        elif token["field"]:
            yield Field(token["field"])
        elif token["text"]:
            yield token["text"]
        elif token["mark"] in "[]":
            yield _Mark(token["mark"])
        else:
            raise ValueError(
                f"{token['mark']} is not part of a {{field}}: in braces a name of a-z, 0-9 and _ is expected; a "
                "brace that stands for itself is written twice"
            )
