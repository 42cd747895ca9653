"""The text of errors about settings."""

import json
from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow.settings.load import load
from tests.support.settings import loaded


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
        ({"CONFIG": "/nowhere.toml"}, ("EVENTFLOW_CONFIG", "/nowhere.toml", "no such file")),
        ({"SOURCE__API_KEYS_FILE": "/nowhere"}, ("EVENTFLOW_SOURCE__API_KEYS_FILE", "/nowhere")),
        (
            {"SOURCE__VERIFY": "githab", "SOURCE__SECRETS": "some-secret"},
            ("EVENTFLOW_SOURCE__VERIFY", "'githab'", "github"),
        ),
        ({"SOURCE__VERIFY": "github"}, ("EVENTFLOW_SOURCE__SECRETS", "verify is github")),
        ({"SOURCE__SECRETS": "some-secret"}, ("EVENTFLOW_SOURCE__SECRETS", "verify is none")),
        (
            {"SOURCE__VERIFY": "hmac", "SOURCE__SECRETS": "some-secret"},
            ("EVENTFLOW_SOURCE__HMAC_HEADER", "verify is hmac"),
        ),
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


@pytest.mark.parametrize("value", ["5", "true", '["github"]', '{github = "yes"}'])
def test_a_sender_that_is_no_text_in_toml_is_answered_with_the_command_that_lists_them(
    tmp_path: Path, value: str
) -> None:
    (tmp_path / "some.toml").write_text(f"source.verify = {value}")
    with pytest.raises(
        SettingsError,
        match=r"^EVENTFLOW_SOURCE__VERIFY = .*: the name of a sender is expected; `eventflow sources` lists them$",
    ):
        load(tmp_path / "some.toml")


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


@pytest.mark.parametrize(
    "variables",
    [
        {"TARGET__URL": '"http://target/"'},
        {"TARGET__URL": "http://${HOST}/"},
        {"TARGET__URL": "http://$HOST/"},
        {"TARGET__RATE_PER_S": '"5"'},
        {"TARGET__RATE_PER_S": ""},
        {"TARGET__RATE_PER_S": "auto"},
        {"TARGET__FORMAT": "'raw'"},
        {"TARGET__HEADERS": '\'{"Authorization": "Bearer x"}\''},
        {"TARGET__HEADERS": '{"Authorization": "Bearer ${TOKEN}"}'},
        {"BROKER__URL": '"amqp://h/"'},
        {"BROKER__URL": "amqp://u:${PASSWORD}@h/"},
        {"BROKER__MANAGEMENT_URL": "'http://h:15672'"},
        {"BROKER__MANAGEMENT_URL": "http://.h:15672"},
        {"BROKER__USERNAME": "u", "BROKER__PASSWORD": "$(PASSWORD)", "BROKER__URL": "amqp://h/"},
        {"COLLECTOR__HOST": '"0.0.0.0"'},
        {"COLLECTOR__HOST": ""},
        {"COLLECTOR__HOST": "0.0.0.0:8080"},
        {"COLLECTOR__ADMIN_HOST": "$(POD_IP)"},
        {"COLLECTOR__SPOOL_DIR": '"/vol"'},
        {"COLLECTOR__SPOOL_DIR": "spool"},
        {"COLLECTOR__SPOOL_DIR": "~/spool"},
        {"PROCESSOR__FLOWS": ""},
        {"SOURCE__ALLOW_UNAUTHENTICATED": '"true"'},
    ],
)
@pytest.mark.parametrize("place", ["variable", "toml"])
def test_a_value_that_is_not_what_was_meant_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], place: str
) -> None:
    """docker/cli#4665: an env file keeps quotes and expands nothing. An empty rate was an unlimited one on 0.1.0."""
    if place == "toml":
        (tmp_path / "eventflow.toml").write_text(
            "\n".join(f"{name.lower().replace('__', '.')} = {json.dumps(text)}" for name, text in variables.items())
        )
        variables = {}
    with pytest.raises(SettingsError, match=r"^EVENTFLOW_") as raised:
        loaded(monkeypatch, **variables)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["https://hooks.example:99999/T0KEN?k=T0KEN", '"https://hooks.example/T0KEN"', "https://hooks.example/T0KEN x"],
)
def test_an_error_shows_of_a_target_only_its_host(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """docker/cli#4665. Reproduced on 0.1.0: the whole URL, in whose path a token stood."""
    with pytest.raises(SettingsError, match=r"hooks\.example") as raised:
        loaded(monkeypatch, TARGET__URL=url)
    assert "T0KEN" not in str(raised.value)


def test_a_section_that_is_given_as_one_text_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reproduced on 0.1.0: `EVENTFLOW_BROKER=amqp://...`, a name written wrongly, was printed with its password."""
    for name in ("BROKER", "SOURCE", "TARGET", "FLOWS", "FLOWS__A", "FLOWS__A__TARGET"):
        with (
            monkeypatch.context() as patch,
            pytest.raises(SettingsError, match=f"^EVENTFLOW_{name}: .*section") as raised,
        ):
            loaded(patch, **{name: "amqp://u:s3cret/@host/s3cret"})
        assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TARGT__URL", "EVENTFLOW_TARGET__URL"),
        ("TARGET__RATE", "EVENTFLOW_TARGET__RATE_PER_S"),
        ("RATE_PER_S", "EVENTFLOW_TARGET__RATE_PER_S"),
        ("URL", "EVENTFLOW_BROKER__URL or EVENTFLOW_HISTORY__URL or EVENTFLOW_TARGET__URL"),
        ("LOG_LEVEL", "EVENTFLOW_TELEMETRY__LOG_LEVEL"),
        ("CONFG", "EVENTFLOW_CONFIG"),
        ("FLOW__ORDERS__TARGET__TIMEOUT", "EVENTFLOW_FLOWS__ORDERS__TARGET__TIMEOUT_S"),
        ("FLOWS__ORDERS__URL", "EVENTFLOW_FLOWS__ORDERS__TARGET__URL"),
    ],
)
def test_the_setting_that_was_most_likely_meant_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    with pytest.raises(SettingsError, match=f"is {meant} meant[?]$"):
        loaded(monkeypatch, **{name: "1"})


def test_a_toml_key_in_capitals_is_answered_with_the_key_in_lower_case(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text("[Target]\nurl = 'http://a/'")
    with pytest.raises(SettingsError, match=r"is target[.]url meant[?]$"):
        load(tmp_path / "some.toml")


@pytest.mark.parametrize("url", ["http://a/b c", "http://a b/", "http://a/?q=x y"])
def test_a_target_with_a_space_in_its_url_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(SettingsError, match="without spaces"):
        loaded(monkeypatch, TARGET__URL=url)


def test_a_toml_file_may_begin_with_the_byte_order_mark_of_an_editor(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_bytes(b"\xef\xbb\xbf[target]\r\ncost = 2\r\n")
    assert load(tmp_path / "some.toml").all_flows["default"].target.cost == 2
