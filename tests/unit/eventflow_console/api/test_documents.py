"""Values as JSON, and their schemas."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import pytest

from eventflow_console.api.documents import Schemas, as_json, attributes_in


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part.

    Attributes:
        colour: The colour.
        rate: The rate, which may
            have no limit.
    """

    colour: Colour
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole, with parts."""

    at: datetime
    parts: tuple[Part, ...]
    by_name: Mapping[str, Part]


WHOLE = Whole(
    at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    parts=(Part(colour=Colour.RED, rate=math.inf),),
    by_name={"a": Part(colour=Colour.RED)},
)


def test_a_value_becomes_an_object_in_which_unknown_is_null_and_no_limit_has_a_word():
    assert as_json(WHOLE) == {
        "at": "2026-01-02T03:04:05.000Z",
        "parts": [{"colour": "red", "rate": "infinite"}],
        "by_name": {"a": {"colour": "red", "rate": None}},
    }


def test_a_schema_describes_the_same_object_in_the_words_of_the_class():
    schemas = Schemas()
    assert schemas.of(Whole) == {"$ref": "#/components/schemas/Whole"}
    whole, part = schemas.by_name["Whole"], schemas.by_name["Part"]
    assert whole["required"] == ["at", "parts", "by_name"]
    assert whole["properties"]["parts"] == {"type": "array", "items": {"$ref": "#/components/schemas/Part"}}
    assert whole["properties"]["by_name"]["additionalProperties"] == {"$ref": "#/components/schemas/Part"}
    assert part["description"] == "A part."
    assert part["properties"]["rate"] == {
        "anyOf": [{"type": "number"}, {"const": "infinite"}, {"type": "null"}],
        "description": "The rate, which may have no limit.",
    }
    assert part["properties"]["colour"]["enum"] == ["red"]


def test_a_type_that_json_does_not_have_is_an_error():
    with pytest.raises(TypeError, match="no schema"):
        Schemas().of(complex)


def test_the_attributes_of_a_docstring_end_with_its_section():
    assert attributes_in("Text.\n\nAttributes:\n    a: One\n        two.\n    b: Three: four.\n\nMore: text.\n") == {
        "a": "One two.",
        "b": "Three: four.",
    }
    assert attributes_in("Text.") == {}
