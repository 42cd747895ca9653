"""A first file of settings as text: TOML, or variables for an environment file. Pure."""

import json
from collections.abc import Iterator, Sequence

from eventflow.cli.init.entries import Entry, Table, Value
from eventflow.settings.environment import variable

INTRODUCTION = (
    "Settings of Event Flow for {title}.",
    "Replace each text in <brackets>: until then a service does not start, and names the setting.",
    "`eventflow settings` shows every setting, `eventflow check` tests these. Keep this file private: it has secrets.",
)


def as_toml(title: str, tables: Sequence[Table]) -> str:
    """Return the content of `eventflow.toml`."""
    return "\n".join([*_introduction(title), *(line for table in tables for line in _toml_lines(table)), ""])


def as_variables(title: str, tables: Sequence[Table]) -> str:
    """Return the content of `.env`.

    Comments stand on lines of their own, because Docker reads all behind a `=`. The settings that deploy/compose.yaml
    makes are comments too.
    """
    compose = "# The lines that Compose sets are comments: without deploy/compose.yaml remove their `# `."
    lines = (line for table in tables for line in _variable_lines(table))
    return "\n".join([*_introduction(title), compose, *lines, ""])


def _introduction(title: str) -> Iterator[str]:
    yield from (f"# {line.format(title=title)}" for line in INTRODUCTION)


def _toml_lines(table: Table) -> Iterator[str]:
    yield from ("", f"# {table.comment}", f"[{'.'.join(table.path)}]")
    for entry in table.entries:
        yield f"# {entry.comment}"
        yield f"{'' if entry.is_active else '# '}{entry.key} = {_toml_value(entry.value)}"


def _toml_value(value: Value) -> str:
    match value:
        case dict():
            pairs = (f"{name} = {json.dumps(text)}" for name, text in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _variable_lines(table: Table) -> Iterator[str]:
    yield from ("", f"# ---- {table.comment} ----")
    for entry in table.entries:
        name = variable((*table.path, entry.key))
        yield f"# {entry.comment}{'; Compose sets it' if entry.is_of_compose else ''}"
        yield f"{'# ' if entry.is_of_compose or not entry.is_active else ''}{name}={_variable_value(entry)}"
        if entry.compose_file is not None:
            place = f"deploy{entry.compose_file.removeprefix('/run')}"
            yield f"# in Compose the next line takes its place, and the value is in the file {place}"
            yield f"# {name}_FILE={entry.compose_file}"


def _variable_value(entry: Entry) -> str:
    match entry.value:
        case list() as parts:
            return ",".join(parts)
        case str() as text:
            return text
        case other:
            return json.dumps(other)
