"""`eventflow init`: files that start as soon as their blanks are filled, and not before."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eventflow.cli.__main__ import app
from eventflow.errors import SettingsError
from eventflow.senders.table import SENDERS
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow_collector.guards import require_safe_exposure
from eventflow_processor.guards import require_target_urls

BLANK = re.compile(r"<[^>]*>")
SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
HEX_KEY = "44782def547aaa06c910c43932b1eb0c71fc68d9d0c057550c48ec2acf6ba056"
SECRETS = {"adyen": HEX_KEY, "basic": "user:password-of-the-test", "discord": HEX_KEY}


def run(*arguments: str) -> str:
    ended = CliRunner().invoke(app, ["init", *arguments])
    assert ended.exit_code == 0, ended.output
    return ended.output


def filled(text: str, provider: str | None) -> str:
    text = text.replace("<the URL of your API>", "https://api.example.com/hooks").replace("<your host>", "example.com")
    return BLANK.sub(SECRETS.get(provider or "", SECRET), text)


def loaded(monkeypatch: pytest.MonkeyPatch, path: Path, role: Role) -> Settings:
    if path.suffix == ".toml":
        return load(path, role)
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            monkeypatch.setenv(name, value)
    return load(role=role)


@pytest.mark.parametrize("provider", [None, *SENDERS])
@pytest.mark.parametrize("kind", ["toml", "env"])
def test_a_file_starts_the_services_once_its_blanks_are_filled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: str | None, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run(*([provider] if provider else []), *(["--env"] if kind == "env" else []))
    path = Path("eventflow.toml" if kind == "toml" else ".env")
    assert path.stat().st_mode & 0o777 == 0o600
    for role in (Role.PROCESSOR, *([Role.COLLECTOR] if provider else [])):
        with pytest.raises(SettingsError, match="TARGET__URL" if role is Role.PROCESSOR else "SOURCE__SECRETS"):
            loaded(monkeypatch, path, role)
    path.write_text(filled(path.read_text(), provider))
    require_safe_exposure(loaded(monkeypatch, path, Role.COLLECTOR))
    settings = loaded(monkeypatch, path, Role.PROCESSOR)
    require_target_urls(settings)
    [flow] = settings.all_flows.values()
    assert flow.target.rate_per_s == 2


@pytest.mark.parametrize("provider", [None, *SENDERS])
def test_the_suggestions_in_a_file_are_settings_too(tmp_path: Path, provider: str | None) -> None:
    path = tmp_path / "eventflow.toml"
    run(*([provider] if provider else []), "--output", str(path))
    path.write_text(filled(re.sub(r"(?m)^# (\w+ = )", r"\1", path.read_text()), provider))
    load(path)


def test_a_file_that_exists_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("eventflow.toml").write_text("mine")
    ended = CliRunner().invoke(app, ["init"])
    assert "exists, and was not changed" in str(ended.exception)
    assert Path("eventflow.toml").read_text() == "mine"
    Path(".env").symlink_to(tmp_path / "nowhere")
    assert CliRunner().invoke(app, ["init", "--env"]).exception
    assert not (tmp_path / "nowhere").exists()


def test_an_unknown_provider_is_answered_with_the_known_ones() -> None:
    ended = CliRunner().invoke(app, ["init", "gitlub"])
    assert ended.exit_code == 2
    assert "standard-webhooks, shopify, github, stripe" in ended.output
