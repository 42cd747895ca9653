"""The settings that each program uses."""

import re
from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow.settings.load import load
from eventflow.settings.roles import Role, is_used
from tests.support.settings import loaded

COLLECTORS = {
    "SOURCE__VERIFY": "github",
    "FLOWS__A__SOURCE__SECRETS_FILE": "/nowhere",
    "FLOWS__A__SOURCE__API_KEYS": "",
    "COLLECTOR__PORT": "none",
}
PROCESSORS = {
    "TARGET__HEADERS_FILE": "/nowhere",
    "TARGET__SIGNING_SECRETS": "short",
    "FLOWS__A__TARGET__URL": "none",
    "PROCESSOR__FLOWS": "unknown",
}


@pytest.mark.parametrize(
    ("role", "of_others", "own"),
    [(Role.COLLECTOR, PROCESSORS, COLLECTORS), (Role.PROCESSOR, COLLECTORS, PROCESSORS)],
)
def test_a_role_needs_and_checks_only_the_settings_that_it_uses(
    monkeypatch: pytest.MonkeyPatch, role: Role, of_others: dict[str, str], own: dict[str, str]
) -> None:
    """Reproduced on 0.1.0: a processor without every sender's secret ended with status 78."""
    for name, value in of_others.items():
        monkeypatch.setenv(f"EVENTFLOW_{name}", value)
    assert set(load(role=role).all_flows) == {"default", "a"}
    with pytest.raises(SettingsError):
        load()
    for name, value in own.items():
        monkeypatch.setenv(f"EVENTFLOW_{name}", value)
        with pytest.raises(SettingsError):
            load(role=role)
        monkeypatch.delenv(f"EVENTFLOW_{name}")


def test_an_operator_needs_no_secret_of_the_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "eventflow.toml").write_text(
        '[source]\nverify = "github"\napi_keys = []\n[target]\nsigning_secrets = []\n'
    )
    settings = loaded(monkeypatch, TARGET__HEADERS_FILE="/nowhere", TARGET__RATE_PER_S="7", role=Role.OPERATOR)
    assert settings.all_flows["default"].target.rate_per_s == 7
    with pytest.raises(SettingsError, match="EVENTFLOW_TARGET__RATE_PER_S"):
        loaded(monkeypatch, TARGET__RATE_PER_S="none", role=Role.OPERATOR)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "name", ["SOURCE__API_KEY", "TARGET__HEADERS_FILES", "COLLECTOR__PROT", "FLOWS__A__SOURCE__KEY"]
)
def test_a_name_that_is_none_is_an_error_in_every_role(monkeypatch: pytest.MonkeyPatch, role: Role, name: str) -> None:
    with pytest.raises(SettingsError, match=f"EVENTFLOW_{name} .* is not a setting"):
        loaded(monkeypatch, role=role, **{name: "any"})


def test_services_use_no_setting_that_their_role_leaves_at_its_default() -> None:
    services = Path(__file__).parents[4] / "services"
    for role, others in ((Role.COLLECTOR, ("processor", "target")), (Role.PROCESSOR, ("collector", "source"))):
        code = "\n".join(path.read_text() for path in (services / role).rglob("*.py"))
        for section in others:
            used = set(re.findall(rf"(?:settings|flow)\.{section}\.(\w+)", code))
            assert {field for field in used if not is_used(role, section, field)} == set()
