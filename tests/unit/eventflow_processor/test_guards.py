"""Checks of the processor before its start."""

import subprocess
import sys
from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow_processor.guards import require_handlers, require_target_credentials, require_target_urls
from tests.support.settings import loaded


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_processor_needs_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_FLOWS__A__TARGET__URL"):
        require_target_urls(loaded(monkeypatch, FLOWS__A__SOURCE__API_KEYS="some-key"))


def test_a_certificate_that_cannot_be_used_ends_the_start_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for setting, path, reason in (
        ("CA_FILE", tmp_path / "none.pem", "No such file or directory"),
        ("CA_FILE", tmp_path / "ca.pem", "no certificate or crl found"),
        ("CLIENT_CERTIFICATE_FILE", tmp_path / "ca.pem", ""),
    ):
        with pytest.raises(SettingsError) as raised:
            require_target_credentials(loaded(monkeypatch, **{f"FLOWS__A__TARGET__{setting}": str(path)}))
        assert str(raised.value).startswith(f"EVENTFLOW_FLOWS__A__TARGET__{setting} = {path}: ")
        assert reason in str(raised.value)
        assert "\n" not in str(raised.value)
        monkeypatch.delenv(f"EVENTFLOW_FLOWS__A__TARGET__{setting}")


def test_an_oauth_client_needs_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch, TARGET__OAUTH2_TOKEN_URL="https://id.test/token", TARGET__OAUTH2_CLIENT_ID="event-flow"
    )
    with pytest.raises(SettingsError, match="EVENTFLOW_TARGET__OAUTH2_CLIENT_SECRET is not set"):
        require_target_credentials(settings)


def test_a_function_that_cannot_be_loaded_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, FLOWS__ORDERS__HANDLER__CALL="no_such_module_anywhere:handle")
    require_target_urls(settings)
    with pytest.raises(SettingsError) as raised:
        require_handlers(settings)
    expected = "EVENTFLOW_FLOWS__ORDERS__HANDLER__CALL = 'no_such_module_anywhere:handle': there is no module no_such_"
    assert str(raised.value).startswith(expected)


def test_a_function_is_loaded_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    require_handlers(loaded(monkeypatch, FLOWS__ORDERS__HANDLER__CALL="tests.support.handlers:without_database"))


def test_a_processor_needs_no_driver_of_a_database_unless_a_handler_uses_it() -> None:
    absent = "import sys; sys.modules |= dict.fromkeys(['asyncpg', 'psycopg', 'sqlalchemy'])"
    code = f"{absent}; import eventflow_processor.__main__"
    subprocess.run([sys.executable, "-c", code], check=True)
