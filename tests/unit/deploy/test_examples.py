"""The example files of deploy/ are settings that start, once their secrets are there and not before."""

from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow_collector.guards import require_safe_exposure
from eventflow_processor.guards import require_target_urls

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="


def secrets_variable(path: Path) -> str:
    """Return the variable that the file's comment names."""
    [name, *_] = [word for word in path.read_text().split() if "SOURCE__SECRETS_FILE=" in word]
    return name.partition("=")[0].removesuffix("_FILE")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_an_example_starts_with_its_secret_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = secrets_variable(path)
    with pytest.raises(SettingsError, match=variable):
        load(path)
    monkeypatch.setenv(variable, SECRET)
    settings = load(path)
    require_safe_exposure(settings)
    require_target_urls(settings)
    [flow] = settings.all_flows.values()
    assert flow.source.verify == path.stem
    assert flow.target.rate_per_s is not None


@pytest.mark.parametrize("role", [Role.PROCESSOR, Role.OPERATOR])
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_processor_and_the_command_need_no_secret_of_a_sender(path: Path, role: Role) -> None:
    settings = load(path, role)
    require_target_urls(settings)
    assert all(not flow.source.secrets for flow in settings.all_flows.values())


def test_there_is_an_example_for_each_known_sender() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == {"github", "shopify", "standard-webhooks", "stripe"}
