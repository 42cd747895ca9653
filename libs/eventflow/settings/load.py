"""Load the settings: read the TOML file and the environment, and validate both together."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from eventflow.errors import SettingsError
from eventflow.settings.broker import BrokerSettings
from eventflow.settings.environment import (
    ENV_PREFIX,
    capitalized,
    config_file,
    from_environment,
    from_toml,
    merged,
    read_files,
)
from eventflow.settings.errors import explain
from eventflow.settings.roles import Role, used_by
from eventflow.settings.root import Settings

BROKER_PREFIX = f"{ENV_PREFIX}BROKER__"


def load(config: Path | None = None, role: Role | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings of this process. The environment overrides the file, field by field.

    Args:
        config: TOML file; if None, the one that EVENTFLOW_CONFIG names, or `eventflow.toml` if it exists.
        role: Settings that this role does not use are not read, not checked, and have their defaults.
        environ: The environment; by default that of this process.

    Raises:
        SettingsError: One line for each setting that is wrong.
    """
    path = config_file(config, environ)
    variables = read_files(used_by(role, from_environment(environ)))
    tables = {} if path is None else used_by(role, from_toml(path))
    try:
        return Settings.model_validate(merged(tables, variables))
    except ValidationError as error:
        raise SettingsError(explain(error)) from None


def broker_urls_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the broker URLs in an environment, with their passwords, or nothing if it has none.

    An empty variable counts as none: a program that calls this finds a broker of its own then.

    Raises:
        SettingsError: They are wrong.
    """
    named = {name: text for name, text in capitalized(environ).items() if name.startswith(BROKER_PREFIX) and text}
    given = read_files(from_environment(named))
    if "url" not in given.get("broker", {}):
        return ()
    try:
        return BrokerSettings.model_validate(given["broker"]).urls
    except ValidationError as error:
        raise SettingsError(explain(error, "broker")) from None
