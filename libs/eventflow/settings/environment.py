"""Settings as written: environment variables and the TOML file as nested, unchecked values.

It imports the standard library only, so that the health check of a container reads the same settings and starts fast.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventflow.errors import SettingsError
from eventflow.settings.value_text import FileText, check_path, decoded

ENV_PREFIX = "EVENTFLOW_"
CONFIG_VARIABLE = "EVENTFLOW_CONFIG"
DEFAULT_CONFIG = Path("eventflow.toml")
FILE_MAX_BYTES = 1024 * 1024
SECTIONS_MAX = 3
"""`flows`, the name of the flow, `source` or `target`."""

_NAMED_FILES = frozenset({"ca_file", "client_certificate_file", "client_key_file", "users_file"})
"""Settings whose own names end in `_file`: their values are paths, and are not replaced by the content of the file."""

_SERVICE_LINK = re.compile(rf"{ENV_PREFIX}(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|(?:SERVICE_)?PORT(?:_[A-Z0-9_]+)?)")
"""The names that Kubernetes gives to the variables of a Service called `eventflow` or `eventflow-...`."""

_INJECTED = re.compile(
    r"\w+_SERVICE_HOST=[0-9a-f.:]+"
    r"|\w+_SERVICE_PORT(?:_\w+)?=[0-9]+"
    r"|\w+_PORT(?:_[0-9]+_[A-Z]+)?=[a-z]+://.+"
    r"|\w+_PORT_[0-9]+_[A-Z]+(?:_PROTO=[a-z]+|_PORT=[0-9]+|_ADDR=[0-9a-f.:]+)"
)
"""These variables with the values that Kubernetes gives to them. It never gives a number to `..._PORT`."""

SERVICE_LINK_ADVICE = (
    "Kubernetes gives such a name to a variable of a Service; the name of a setting has two underscores between its "
    "parts, as in EVENTFLOW_COLLECTOR__PORT"
)

_OTHERWISE_JOINED = re.compile(r"eventflow[.-]", re.IGNORECASE)
"""A shell cannot set such a name, but the keys of a Kubernetes ConfigMap become variables unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFile:
    """A value in a file. The file is read only if the value is used.

    Attributes:
        is_second: The variable without `_FILE` is set too.
    """

    variable: str
    path: str
    is_second: bool

    def read(self) -> FileText:
        """Return the content of the file without the white space around it.

        Raises:
            SettingsError: The file cannot be read, or the value is set twice.
        """
        if self.is_second:
            raise SettingsError(
                f"{self.variable.removesuffix('_FILE')} and {self.variable} are both set: keep one of them"
            )
        path = self.path.strip()
        _require_path(self.variable, path)
        return FileText(_text_of(f"{self.variable} = {path!r}", Path(path)).strip())


def variable(path: Iterable[str]) -> str:
    """Return the environment variable of a setting, from the names of its sections and its own."""
    return ENV_PREFIX + "__".join(part.upper() for part in path)


def capitalized(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the names of our variables in capitals; they may be written in any case.

    Raises:
        SettingsError: Two names differ in their case only.
    """
    written: dict[str, str] = {}
    for name in environ:
        capitals = name.upper() if name.upper().startswith(ENV_PREFIX) else name
        if capitals in written:
            raise SettingsError(f"{written[capitals]} and {name} are both set and are the same setting: keep one")
        written[capitals] = name
    return {capitals: environ[name] for capitals, name in written.items()}


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return `EVENTFLOW_A__B=text` as `{"a": {"b": "text"}}`, and `EVENTFLOW_A__B_FILE=path` as a `ValueFile`.

    A name in any other form stays whole, so that the error shows it.

    Raises:
        SettingsError: A name is both a section and a value, or has full stops or hyphens instead of underscores.
    """
    nested: dict[str, Any] = {}
    if odd := next(filter(_OTHERWISE_JOINED.match, environ), None):
        raise SettingsError(f"{odd!r} is not a setting: names are written as in EVENTFLOW_TARGET__URL")
    for written, text in sorted(_ours(environ)):
        name = written.removeprefix(ENV_PREFIX).lower()
        *sections, field = name.split("__")
        if not all(sections) or not field or len(sections) > SECTIONS_MAX:
            sections, field = [], name
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsError(
                    f"{variable([section])} is a section and takes no value; set variables such as {written} only"
                )
        is_file = bool(sections) and field.endswith("_file") and field not in _NAMED_FILES
        key = field.removesuffix("_file") if is_file else field
        place[key] = ValueFile(variable=written, path=text, is_second=key in place) if is_file else text
    return nested


def from_toml(config: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        SettingsError: The file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(_text_of(str(config), config))
    except RecursionError:
        raise SettingsError(f"{config}: not valid TOML: its arrays or tables are nested too deeply") from None
    except ValueError as error:
        raise SettingsError(f"{config}: not valid TOML: {error}") from error


def config_file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the TOML file: `named` by the command line, else by EVENTFLOW_CONFIG, else the default if it exists.

    Raises:
        SettingsError: There is no such file, or the variable is not an absolute path.
    """
    path = capitalized(environ).get(CONFIG_VARIABLE, "").strip()
    if named is None and path:
        _require_path(CONFIG_VARIABLE, path)
        named = Path(path)
    try:
        if named is None:
            return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
        if named.is_file():
            return named
    except (OSError, ValueError):  # the name is too long, or has a null byte
        pass
    raise SettingsError(f"{CONFIG_VARIABLE} or --config = {str(named)!r}: there is no such file")


def read_files(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, with each `ValueFile` replaced by the content of its file.

    Raises:
        SettingsError: As in `ValueFile.read`.
    """
    return {
        name: read_files(value) if isinstance(value, dict) else value.read() if isinstance(value, ValueFile) else value
        for name, value in nested.items()
    }


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of both. A value in `above` replaces the one in `below`; sections are merged."""
    values = dict(below)
    for name, value in above.items():
        under = values.get(name)
        values[name] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return values


def unlike_injected(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that are ignored as those of a Kubernetes Service, although their values are others.

    Each may be a setting that lacks an underscore, such as `EVENTFLOW_COLLECTOR_PORT=8080`.
    """
    links = {name: text for name, text in capitalized(environ).items() if _is_service_link(name)}
    return sorted(name for name, text in links.items() if not _INJECTED.fullmatch(f"{name}={text}"))


def _ours(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in capitalized(environ).items():
        is_ours = name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE
        if is_ours and not _is_service_link(name):
            yield name, text


def _is_service_link(name: str) -> bool:
    return "__" not in name and _SERVICE_LINK.fullmatch(name) is not None


def _require_path(name: str, path: str) -> None:
    try:
        check_path(path)
    except ValueError as error:  # without the value: it may be the secret itself
        raise SettingsError(f"{name}: {error}") from None


def _text_of(shown: str, path: Path) -> str:
    """Read a file of limited size: a path may name a device that never ends."""
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{shown}: the file cannot be read: {error.strerror}") from error
    if len(content) > FILE_MAX_BYTES:
        raise SettingsError(f"{shown}: the file is longer than {FILE_MAX_BYTES} bytes")
    try:
        return decoded(content)
    except ValueError as error:
        raise SettingsError(f"{shown}: the file cannot be read: {error}") from None
