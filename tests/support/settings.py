"""Settings from variables that a test sets."""

import pytest
from pydantic import SecretStr

from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings


def loaded(monkeypatch: pytest.MonkeyPatch, *, role: Role | None = None, **variables: str) -> Settings:
    """Load the settings; the names of the variables lack their prefix."""
    for name, value in variables.items():
        monkeypatch.setenv(f"EVENTFLOW_{name}", value)
    return load(role=role)


def texts(secrets: tuple[SecretStr, ...]) -> list[str]:
    """Return the secrets as texts."""
    return [secret.get_secret_value() for secret in secrets]
