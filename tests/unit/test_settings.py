"""Settings: where they come from, and what is said when one is wrong."""

from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow.settings import Settings, load, require_safe_exposure, require_target_urls


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"EVENTFLOW_{name}", value)
    return load()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        BROKER__URL="amqp://a:b@one/, amqps://a:b@two/v",
        TARGET__URL="http://target/",
        TARGET__RATE_PER_S="2.5",
        TARGET__HEADERS='{"Authorization": "Bearer x"}',
        TARGET__RETRY_DELAYS_S="1, 5",
        SOURCE__API_KEYS="a,b",
        FLOWS__ORDERS__TARGET__URL="https://orders/",
    )
    assert settings.broker.urls == ("amqp://a:b@one/", "amqps://a:b@two/v")
    assert set(settings.all_flows) == {"default", "orders"}
    target = settings.all_flows["default"].target
    assert (target.rate_per_s, target.retry_delays_s) == (2.5, (1, 5))
    assert target.headers["Authorization"].get_secret_value() == "Bearer x"
    assert [key.get_secret_value() for key in settings.all_flows["default"].source.api_keys] == ["a", "b"]


def test_environment_overrides_the_toml_file_field_by_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eventflow.toml").write_text(
        '[target]\nurl = "http://file/"\nrate_per_s = 5\n[flows.orders.source]\napi_keys = ["k"]\n'
    )
    settings = loaded(monkeypatch, TARGET__RATE_PER_S="7")
    assert settings.all_flows["default"].target.url == "http://file/"
    assert settings.all_flows["default"].target.rate_per_s == 7
    assert len(settings.all_flows["orders"].source.api_keys) == 1


def test_a_secret_is_read_from_the_file_that_its_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text("k1,k2\n")
    settings = loaded(monkeypatch, SOURCE__API_KEYS_FILE=str(tmp_path / "keys"))
    assert [key.get_secret_value() for key in settings.all_flows["default"].source.api_keys] == ["k1", "k2"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TARGET__RATE_PER_S": "fast"}, ("EVENTFLOW_TARGET__RATE_PER_S", "'fast'", "number")),
        ({"TARGET__RATE_PER_S": "0"}, ("EVENTFLOW_TARGET__RATE_PER_S", "'0'", "greater than or equal to 0.00001")),
        ({"TARGET__RATE_PER_S": "inf"}, ("EVENTFLOW_TARGET__RATE_PER_S", "finite")),
        ({"TARGET__RETRY_DELAYS_S": "5,1"}, ("EVENTFLOW_TARGET__RETRY_DELAYS_S", "grow")),
        ({"TARGET__URL": "ftp://x"}, ("EVENTFLOW_TARGET__URL", "http://")),
        ({"COLLECTOR__PORT": "70000"}, ("EVENTFLOW_COLLECTOR__PORT", "'70000'", "65535")),
        ({"COLLECTOR__PROT": "1"}, ("EVENTFLOW_COLLECTOR__PROT", "not a setting")),
        ({"NONSENSE": "1"}, ("EVENTFLOW_NONSENSE", "not a setting")),
        ({"SOURCE": "x"}, ("EVENTFLOW_SOURCE",)),
        ({"FLOWS__ORDERS__TARGET__COST": "-1"}, ("EVENTFLOW_FLOWS__ORDERS__TARGET__COST", "'-1'")),
        ({"FLOWS__BAD.NAME__TARGET__COST": "1"}, ("bad.name", "a-z")),
        ({"PROCESSOR__FLOWS": "nobody"}, ("nobody", "default")),
        ({"TELEMETRY__LOG_LEVEL": "loud"}, ("EVENTFLOW_TELEMETRY__LOG_LEVEL", "'loud'", "'info'")),
        ({"CONFIG": "nowhere.toml"}, ("nowhere.toml", "no such file")),
        ({"SOURCE__API_KEYS_FILE": "/nowhere"}, ("EVENTFLOW_SOURCE__API_KEYS_FILE", "/nowhere")),
        ({"SOURCE__VERIFY": "gitlab", "SOURCE__SECRETS": "k"}, ("EVENTFLOW_SOURCE__VERIFY", "'gitlab'", "'github'")),
        ({"SOURCE__VERIFY": "github"}, ("EVENTFLOW_SOURCE__SECRETS", "verify is github")),
        ({"SOURCE__SECRETS": "k"}, ("EVENTFLOW_SOURCE__SECRETS", "verify is none")),
        ({"SOURCE__VERIFY": "hmac", "SOURCE__SECRETS": "k"}, ("EVENTFLOW_SOURCE__HMAC_HEADER", "verify is hmac")),
        ({"SOURCE__HMAC_HEADER": "X Y"}, ("EVENTFLOW_SOURCE__HMAC_HEADER", "'X Y'", "letters")),
        ({"TARGET__FORMAT": "xml"}, ("EVENTFLOW_TARGET__FORMAT", "'xml'", "'cloudevents'")),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_with_its_value_and_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as raised:
        loaded(monkeypatch, **variables)
    text = str(raised.value)
    assert "\n" not in text
    for part in expected:
        assert part in text


@pytest.mark.parametrize(
    "variables",
    [
        {"BROKER__URL": "http://user:s3cret@host/"},
        {"TARGET__HEADERS": '{"Authorization": "s3cret\\u0007"}'},
        {"TARGET__HEADERS": "s3cret"},
        {"TARGET__URL": "http://user:s3cret@host/"},
        {"SOURCE__SECRETS": "s3cret"},
        {"SOURCE__VERIFY": "standard-webhooks", "SOURCE__SECRETS": "whsec_s3cret!"},
        {"TARGET__SIGNING_SECRETS": "whsec_s3cret!"},
    ],
)
def test_a_wrong_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as raised:
        loaded(monkeypatch, **variables)
    assert "s3cret" not in str(raised.value)


def test_secrets_have_a_redacting_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        BROKER__URL="amqp://u:s3cret@host/",
        SOURCE__API_KEYS="s3cret",
        SOURCE__VERIFY="github",
        SOURCE__SECRETS="s3cret",
        TARGET__SIGNING_SECRETS="whsec_s3cret00",
        TARGET__HEADERS='{"Authorization": "s3cret"}',
    )
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize("secrets", ['api_keys = [""]', 'verify = "github"\nsecrets = ["k", ""]'])
def test_an_empty_secret_is_refused_since_whoever_sends_nothing_would_have_it(tmp_path: Path, secrets: str) -> None:
    path = tmp_path / "empty.toml"
    path.write_text(f"[source]\n{secrets}\n")
    with pytest.raises(SettingsError, match="EVENTFLOW_SOURCE__"):
        load(path)


def test_only_other_flows_leave_no_default_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(loaded(monkeypatch, FLOWS__A__TARGET__URL="http://a/").all_flows) == {"a"}


def test_the_processor_needs_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_FLOWS__A__TARGET__URL"):
        require_target_urls(loaded(monkeypatch, FLOWS__A__SOURCE__API_KEYS="k"))


@pytest.mark.parametrize(
    ("variables", "is_safe"),
    [
        ({}, True),
        ({"COLLECTOR__HOST": "::1"}, True),
        ({"COLLECTOR__HOST": "0.0.0.0"}, False),
        ({"COLLECTOR__HOST": "0.0.0.0", "SOURCE__API_KEYS": "k"}, True),
        ({"COLLECTOR__HOST": "0.0.0.0", "SOURCE__VERIFY": "github", "SOURCE__SECRETS": "k"}, True),
        ({"COLLECTOR__HOST": "0.0.0.0", "SOURCE__ALLOW_UNAUTHENTICATED": "true"}, True),
        ({"COLLECTOR__HOST": "0.0.0.0", "SOURCE__API_KEYS": "k", "FLOWS__OPEN__TARGET__URL": "http://x/"}, False),
    ],
)
def test_without_keys_the_collector_listens_on_loopback_only(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_safe: bool
) -> None:
    settings = loaded(monkeypatch, **variables)
    if is_safe:
        require_safe_exposure(settings)
    else:
        with pytest.raises(SettingsError, match="ALLOW_UNAUTHENTICATED"):
            require_safe_exposure(settings)
