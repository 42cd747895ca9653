"""A sender as an operator writes it in TOML. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from eventflow.senders.vocabulary import Sender, Text


def as_toml(sender: Sender, *, name: str) -> str:
    """Return the table of a sender under another name. Reading it gives the same sender."""
    described = _table_of(sender)
    del described["name"]  # the name of the table
    lines = [f"[senders.{name}]"]
    tables: dict[str, Any] = {}
    for key, value in described.items():
        if key in {"authentication", "handshakes"}:
            tables[key] = value
        else:
            lines.append(f"{key} = {_inline(value)}")
    for key, values in tables.items():
        for value in values:
            lines += ["", f"[[senders.{name}.{key}]]", *(f"{inner} = {_inline(one)}" for inner, one in value.items())]
    return "\n".join([*lines, ""])


def _table_of(value: Any) -> dict[str, Any]:
    """Return a value of the vocabulary as a table, without the keys that have their defaults."""
    return dict(_keys_of(value))


def _keys_of(value: Any) -> Iterator[tuple[str, Any]]:
    for one in sorted(fields(value), key=lambda one: one.name != "scheme"):
        given = getattr(value, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if given != default or one.name == "scheme":
            yield one.name, _plain(given)


def _plain(value: Any) -> Any:
    match value:
        case Text(parts=(place,), suffix=None, when=()):
            return _table_of(place)
        case _ if is_dataclass(value):
            return _table_of(value)
        case tuple() | list():
            return [_plain(one) for one in value]
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case _:
            return value


def _inline(value: Any) -> str:
    match value:
        case dict():
            return (
                f"{{ {', '.join(f'{_key(key)} = {_inline(one)}' for key, one in value.items())} }}" if value else "{}"
            )
        case [single] if isinstance(single, dict):
            return _inline(single)
        case list():
            return f"[{', '.join(map(_inline, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else json.dumps(key)
