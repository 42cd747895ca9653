"""Settings as they are written: environment variables and the TOML file, as nested values that nothing has checked.

Standard library only, so that the health check of a container reads the same settings and starts in no time.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
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
"""`flows`, the flow's name, `source` or `target`."""

_SERVICE_LINK = re.compile(
    rf"{ENV_PREFIX}(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_[A-Z]+(?:_PROTO|_PORT|_ADDR)?)"
)
_OTHERWISE_JOINED = re.compile(r"eventflow[.-]", re.IGNORECASE)
"""No shell makes such a name, but keys of a Kubernetes ConfigMap become variables as they are."""

_LINKED_URL = re.compile(r"[a-z]+://")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFile:
    """A value that stands in a file, which is read only if the value is used.

    Attributes:
        is_second: A variable without `_FILE` has given the value already.
    """

    variable: str
    path: str
    is_second: bool

    def read(self) -> FileText:
        """Read it, without white space around it.

        Raises:
            SettingsError: It cannot be read, or the value is given twice.
        """
        if self.is_second:
            raise SettingsError(
                f"{self.variable.removesuffix('_FILE')} is set, and {self.variable} too: keep one of them"
            )
        path = self.path.strip()
        _require_path(self.variable, path)
        return FileText(_text_of(f"{self.variable} = {path!r}", Path(path)).strip())


def capitalized(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which our variables have their names in capitals, in whatever case they were written.

    Raises:
        SettingsError: Two names differ in nothing but their case.
    """
    written: dict[str, str] = {}
    for name in environ:
        capitals = name.upper() if name.upper().startswith(ENV_PREFIX) else name
        if capitals in written:
            raise SettingsError(f"{written[capitals]} and {name} are both set, and are the same setting: keep one")
        written[capitals] = name
    return {capitals: environ[name] for capitals, name in written.items()}


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return `EVENTFLOW_A__B=text` as `{"a": {"b": "text"}}`, and `EVENTFLOW_A__B_FILE=path` as a `ValueFile`.

    A name that has not this form stays whole, for the error about it.

    Raises:
        SettingsError: A name stands for a section and for a value, or two names for the same value, or a name has full
            stops or hyphens in place of underscores.
    """
    nested: dict[str, Any] = {}
    if odd := next(filter(_OTHERWISE_JOINED.match, environ), None):
        raise SettingsError(f"{odd!r} is not a setting: parts of names are joined as in EVENTFLOW_TARGET__URL")
    for variable, text in sorted(_ours(environ)):
        name = variable.removeprefix(ENV_PREFIX).lower()
        *sections, field = name.split("__")
        if not all(sections) or not field or len(sections) > SECTIONS_MAX:
            sections, field = [], name
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsError(f"{ENV_PREFIX}{section.upper()} is a section; set {variable} and the like alone")
        is_file = bool(sections) and field.endswith("_file")
        key = field.removesuffix("_file") if is_file else field
        place[key] = ValueFile(variable=variable, path=text, is_second=key in place) if is_file else text
    return nested


def from_toml(config: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        SettingsError: It cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(_text_of(str(config), config))
    except RecursionError:
        raise SettingsError(f"{config}: not valid TOML: its arrays or tables are nested too deep") from None
    except ValueError as error:
        raise SettingsError(f"{config}: not valid TOML: {error}") from error


def config_file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the TOML file: `named` by the command line, else by EVENTFLOW_CONFIG, else the default if it is there.

    Raises:
        SettingsError: There is no such file, or the variable holds no absolute path.
    """
    variable = capitalized(environ).get(CONFIG_VARIABLE, "").strip()
    if named is None and variable:
        _require_path(CONFIG_VARIABLE, variable)
        named = Path(variable)
    try:
        if named is None:
            return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
        if named.is_file():
            return named
    except (OSError, ValueError):  # of a name too long, or with a null byte
        pass
    raise SettingsError(f"{CONFIG_VARIABLE} or --config = {str(named)!r}: there is no such file")


def read_files(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with every `ValueFile` read.

    Raises:
        SettingsError: As `ValueFile.read`.
    """
    return {
        name: read_files(value) if isinstance(value, dict) else value.read() if isinstance(value, ValueFile) else value
        for name, value in nested.items()
    }


def _ours(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for variable, text in capitalized(environ).items():
        is_ours = variable.startswith(ENV_PREFIX) and variable != CONFIG_VARIABLE
        if is_ours and not _is_service_link(variable, text):
            yield variable, text


def _is_service_link(variable: str, text: str) -> bool:
    """Whether Kubernetes has made a variable for a Service called `eventflow` or `eventflow-...`.

    `..._PORT` is a URL there. With a number it is more likely a setting that misses an underscore.
    """
    if "__" in variable:
        return False
    is_url = variable.endswith("_PORT") and _LINKED_URL.match(text) is not None
    return is_url or _SERVICE_LINK.fullmatch(variable) is not None


def _require_path(variable: str, path: str) -> None:
    try:
        check_path(path)
    except ValueError as error:  # without the value: it may be the secret that belongs into the file
        raise SettingsError(f"{variable}: {error}") from None


def _text_of(shown: str, path: Path) -> str:
    """Read a file of bounded size, since a path may name a device that has no end."""
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
