"""The settings with which a console may start."""

from pathlib import Path
from typing import Any

import pytest

from eventflow.errors import SettingsError
from eventflow.settings.root import Settings
from eventflow.users import put_user
from eventflow_console.guards import require_safe_access
from tests.support.console import cheap_hash


def settings(**console: Any) -> Settings:
    return Settings.model_validate({"console": console})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_without_authentication_loopback_is_accepted(host: str):
    require_safe_access(settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "console.example"])
def test_without_authentication_any_other_address_is_refused(host: str):
    with pytest.raises(SettingsError, match="loopback only"):
        require_safe_access(settings(host=host))


def test_passwords_need_a_file_with_a_user(tmp_path: Path):
    path = tmp_path / "users"
    with pytest.raises(SettingsError, match="USERS_FILE is not set"):
        require_safe_access(settings(host="0.0.0.0", auth="basic"))
    with pytest.raises(SettingsError, match="add-user"):
        require_safe_access(settings(host="0.0.0.0", auth="basic", users_file=path))
    path.touch()
    with pytest.raises(SettingsError, match="no users"):
        require_safe_access(settings(host="0.0.0.0", auth="basic", users_file=path))
    put_user(path, "alice", cheap_hash("one"))
    require_safe_access(settings(host="0.0.0.0", auth="basic", users_file=path))


def test_a_proxy_needs_its_address():
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
        require_safe_access(settings(host="0.0.0.0", auth="proxy"))
    require_safe_access(settings(host="0.0.0.0", auth="proxy", trusted_proxies=["10.0.0.0/8"]))
