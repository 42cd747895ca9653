"""Checks of the collector before its start."""

from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow_collector.guards import require_safe_exposure
from tests.support.settings import loaded


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("variables", "is_safe"),
    [
        ({}, False),
        ({"COLLECTOR__HOST": "::1"}, False),
        ({"COLLECTOR__HOST": "0.0.0.0"}, False),
        ({"SOURCE__API_KEYS": "some-key"}, True),
        ({"SOURCE__VERIFY": "github", "SOURCE__SECRETS": "some-secret"}, True),
        ({"SOURCE__ALLOW_UNAUTHENTICATED": "true"}, True),
        ({"SOURCE__API_KEYS": "some-key", "FLOWS__OPEN__TARGET__URL": "http://x/"}, False),
        ({"SOURCE__API_KEYS": "some-key", "FLOWS__INNER__SOURCE__ENABLED": "false"}, True),
    ],
)
def test_a_flow_without_any_authentication_is_refused_on_loopback_too(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_safe: bool
) -> None:
    """On 0.1.0 loopback was taken for safe, and a proxy that stood there passed on what came from outside."""
    settings = loaded(monkeypatch, **variables)
    if is_safe:
        require_safe_exposure(settings)
    else:
        with pytest.raises(SettingsError, match="ALLOW_UNAUTHENTICATED"):
            require_safe_exposure(settings)
