"""Values as JSON, and the schemas of that JSON, from the same types. Pure.

Unknown is null, a time is RFC 3339 in UTC, and a number without a limit is `infinite`, because JSON has no word for it.
"""

import inspect
import math
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from eventflow.event import format_time

INFINITE: Final = "infinite"

_SIMPLE: Final[Mapping[Any, Mapping[str, Any]]] = {
    str: {"type": "string"},
    bytes: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"anyOf": [{"type": "number"}, {"const": INFINITE}]},
    datetime: {"type": "string", "format": "date-time"},
    type(None): {"type": "null"},
    Any: {},
}
_NONE: Final = re.compile(r"\bNone\b")
_ATTRIBUTES: Final = re.compile(r"\nAttributes:\n(.*?)(?:\n\n|\Z)", re.DOTALL)
_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", re.DOTALL | re.MULTILINE)


def as_json(value: object) -> Any:
    """Return a value in JSON's types. A dataclass becomes an object with its fields."""
    match value:
        case Mapping():
            return {str(name): as_json(part) for name, part in value.items()}
        case list() | tuple() | frozenset():
            return [as_json(part) for part in value]
        case _ if is_dataclass(value):
            return {each.name: as_json(getattr(value, each.name)) for each in fields(value)}
    return _plain(value)


def _plain(value: object) -> Any:
    match value:
        case datetime():
            return format_time(value)
        case Enum():
            return value.value
        case float() if math.isinf(value):
            return INFINITE
    return value


class Schemas:
    """The schemas of types, each under the name of its class."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def of(self, annotation: Any) -> dict[str, Any]:
        """Return the schema of the JSON that `as_json` makes of a type; that of a dataclass is a reference."""
        if annotation in _SIMPLE:
            return dict(_SIMPLE[annotation])
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            return {"enum": [one.value for one in annotation]}
        if isinstance(annotation, type) and is_dataclass(annotation):
            return self._object_of(annotation)
        return self._compound_of(get_origin(annotation), get_args(annotation))

    def _compound_of(self, origin: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in {Union, types.UnionType}:
            return {"anyOf": [schema for one in arguments for schema in _choices(self.of(one))]}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if isinstance(origin, type):
            return {"type": "array", "items": self.of(arguments[0])}
        raise TypeError(f"no schema for {origin!r} of {arguments!r}")

    def _object_of(self, cls: type) -> dict[str, Any]:
        if cls.__name__ not in self.by_name:
            self.by_name[cls.__name__] = {}  # a class that contains itself finds this one
            self.by_name[cls.__name__] = self.members_of(cls)
        return reference(cls.__name__)

    def members_of(self, cls: type) -> dict[str, Any]:
        """Return the schema of an object with the fields of a dataclass or a named tuple, and their descriptions."""
        document = inspect.getdoc(cls) or ""
        descriptions = attributes_in(document)
        members = {name: self.of(hint) for name, hint in get_type_hints(cls).items() if not name.startswith("_")}
        for name, schema in members.items():
            if name in descriptions:
                schema["description"] = _NONE.sub("null", descriptions[name])
        return {
            "description": document.partition("\n\n")[0].replace("\n", " "),
            "type": "object",
            "required": list(members),
            "properties": members,
            "additionalProperties": False,
        }


def reference(name: str) -> dict[str, Any]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def attributes_in(document: str) -> dict[str, str]:
    """Return the descriptions of attributes in a docstring."""
    section = _ATTRIBUTES.search(document)
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(section[1])} if section else {}


def _choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
    choices: list[dict[str, Any]] = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
    return choices
