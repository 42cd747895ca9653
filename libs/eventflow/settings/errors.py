"""A validation error in words: one line for each setting that is wrong. Pure; no line shows a secret."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from eventflow.network.host import shown_http_url
from eventflow.settings.environment import ENV_PREFIX, variable
from eventflow.settings.fields import is_secret
from eventflow.settings.processor import ProcessorSettings
from eventflow.settings.root import SECTIONS, FlowSettings, Settings
from eventflow.settings.target import TargetSettings

SHOWN_MAX_CHARACTERS = 200
LINE_MAX_CHARACTERS = 800

MEANT_MAX = 3
CONFIG_PATH = ("config",)

_ENOUGH_ALIKE = 0.85


def explain(error: ValidationError, *section: str) -> str:
    """Return one line for each setting that is wrong: its variable, its value, and the accepted form.

    Several errors in one list of secrets look the same, because no secret is shown, and become one line.

    Args:
        error: Of the validation of all settings, or of one section.
        section: The name of that section.
    """
    lines = (_shown(line, LINE_MAX_CHARACTERS) for line in _lines_of(error, section))
    return "\n".join(dict.fromkeys(lines))


def _lines_of(error: ValidationError, section: tuple[str, ...]) -> Iterator[str]:
    wrong_parts: set[str] = set()
    for detail in error.errors(include_url=False):
        location = (*section, *(str(part) for part in detail["loc"]))
        accepted = str(detail["msg"]).removeprefix("Value error, ")
        if not detail["loc"] or accepted.startswith((ENV_PREFIX, "[senders.")):  # it names the settings itself
            yield accepted
            continue
        if detail["type"] == "extra_forbidden":
            yield _unknown((*location, *_only_names(detail["input"])))
            continue
        field, path = _field_at(location)
        name = variable(path)
        if path != location:
            wrong_parts.add(name)
        if detail["type"] in {"model_type", "dict_type"} and (field is None or path[-1] in SECTIONS):
            accepted = f"it is a section of settings; their names begin with {name}__"
        if detail["type"] == "too_short":
            if name in wrong_parts:
                continue  # it is too short only because its wrong parts were dropped
            accepted = "it is set and empty; leave it unset for the default"
        yield f"{name}{_value_shown(field, detail['input'])}: {accepted}"


def _unknown(path: tuple[str, ...]) -> str:
    written, dotted = variable(path), ".".join(path)
    # TOML keys are in lower case, and the name of the variable would not show that.
    meant = [".".join(known) if variable(known) == written else variable(known) for known in _meant_by(path)]
    advice = f"is {' or '.join(meant)} meant?" if meant else "docs/configuration.md lists them"
    return f"{_shown(written)} ({_shown(dotted)} in TOML) is not a setting; {advice}"


def _only_names(value: object) -> Iterator[str]:
    """Yield the rest of an unknown name that was split at each `__`: `A__B__C=x` arrives as `{"b": {"c": "x"}}`."""
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        yield str(name)


def _value_shown(field: FieldInfo | None, value: object) -> str:
    """Return ` = value`; empty for a secret and if there is none, and only scheme, host and port of a target's URLs."""
    if field is None or value is None or is_secret(field):
        return ""
    if field in (TargetSettings.model_fields["url"], TargetSettings.model_fields["oauth2_token_url"]):
        url = shown_http_url(value) if isinstance(value, str) else None
        return f" = {url!r}" if url else ""
    return f" = {_shown(repr(value))}"


def _shown(text: str, max_characters: int = SHOWN_MAX_CHARACTERS) -> str:
    """Return a text as one line of limited length."""
    line = text if text.isprintable() else ascii(text)
    return line if len(line) <= max_characters else f"{line[:max_characters]}..."


def _meant_by(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the settings that an unknown name may stand for: at most `MEANT_MAX`, and none if none is like it."""
    flow = ("flows", path[1]) if path[0] in {"flow", "flows"} and len(path) > 1 else ()
    sections = set(FlowSettings.model_fields) if flow else set(SECTIONS) - {"flows"}
    known = {
        f"{section}_{field}{suffix}": (*flow, section, field + suffix)
        for section in sorted(sections)
        for field in SECTIONS[section].model_fields
        for suffix in ("", "_file")
    }
    known["config"] = CONFIG_PATH
    written = re.sub("[_-]+", "_", "_".join(path[len(flow) :]).lower()).strip("_")
    without_section = [name for name, place in known.items() if place[-1] == written]
    alike = get_close_matches(written, known, n=1, cutoff=_ENOUGH_ALIKE)
    longer = [name for name in known if name.startswith(f"{written}_") and not name.endswith("_file")]
    found = without_section or alike or longer
    return [known[name] for name in found[:MEANT_MAX]]


def _field_at(location: tuple[str, ...]) -> tuple[FieldInfo | None, tuple[str, ...]]:
    """Return the field that contains the location of an error, and the path to that field."""
    fields: Mapping[str, FieldInfo] = Settings.model_fields
    for depth, part in enumerate(location):
        if fields is FlowSettings.model_fields and location[0] == "flows" and depth == 1:
            continue  # the name of the flow
        field = fields.get(part)
        if field is None:
            return None, location
        section = SECTIONS.get(part)
        if section is None or fields is ProcessorSettings.model_fields:  # `processor.flows` is a list, not the section
            return field, location[: depth + 1]
        fields = section.model_fields
    return None, location
