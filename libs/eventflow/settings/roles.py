"""The settings that each program uses, so that it needs no secret of the others. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from eventflow.settings.fields import is_secret
from eventflow.settings.root import SECTIONS


class Role(StrEnum):
    """The programs. Each reads and checks only the settings that it uses."""

    COLLECTOR = "collector"
    PROCESSOR = "processor"
    CONSOLE = "console"
    RELAY = "relay"
    OPERATOR = "operator"
    """The command `eventflow`."""


_UNUSED: Mapping[Role, frozenset[str]] = {
    Role.COLLECTOR: frozenset({"processor", "target", "handler", "history", "console", "relay"}),
    Role.PROCESSOR: frozenset({"collector", "console", "relay"}),
    Role.CONSOLE: frozenset({"relay"}),
    Role.RELAY: frozenset({"collector", "processor", "target", "handler", "history", "console"}),
    Role.OPERATOR: frozenset(),
}
"""Sections of which a role uses nothing."""


def is_used(role: Role | None, section: str, field: str) -> bool:
    """Return True if a role uses a setting. None is all roles together."""
    if role is None:
        return True
    match role, section:
        case (Role.PROCESSOR | Role.CONSOLE | Role.RELAY | Role.OPERATOR, "source"):
            return field == "max_body_bytes"
        case (Role.CONSOLE | Role.OPERATOR, "target"):
            return not is_secret(SECTIONS[section].model_fields[field])
        case (Role.CONSOLE, "handler"):
            return field == "call"
    return section not in _UNUSED[role]


def used_by(role: Role | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a role uses. An unknown name stays: it is an error in every role."""
    used: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, dict) or name not in SECTIONS:
            used[name] = value
        elif name == "flows":
            used[name] = {flow: used_by(role, part) if isinstance(part, dict) else part for flow, part in value.items()}
        else:
            fields = SECTIONS[name].model_fields
            used[name] = {key: part for key, part in value.items() if key not in fields or is_used(role, name, key)}
    return used
