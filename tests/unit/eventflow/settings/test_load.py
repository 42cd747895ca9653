"""Settings from the file and from the environment, together."""

from pathlib import Path

import pytest

from eventflow.errors import SettingsError
from eventflow.settings.load import broker_urls_in, load
from tests.support.settings import loaded, texts


def test_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        BROKER__URL="amqp://a:b@one/, amqps://a:b@two/v",
        TARGET__URL="http://target/",
        TARGET__RATE_PER_S="2.5",
        TARGET__HEADERS='{"Authorization": "Bearer x"}',
        TARGET__RETRY_DELAYS_S="1, 5",
        SOURCE__API_KEYS="first-key,other-key",
        FLOWS__ORDERS__TARGET__URL="https://orders/",
    )
    assert settings.broker.urls == ("amqp://a:b@one/", "amqps://a:b@two/v")
    assert set(settings.all_flows) == {"default", "orders"}
    target = settings.all_flows["default"].target
    assert (target.rate_per_s, target.retry_delays_s) == (2.5, (1, 5))
    assert target.headers["Authorization"].get_secret_value() == "Bearer x"
    assert texts(settings.all_flows["default"].source.api_keys) == ["first-key", "other-key"]


def test_environment_overrides_the_toml_file_field_by_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eventflow.toml").write_text(
        '[target]\nurl = "http://file/"\nrate_per_s = 5\n[flows.orders.source]\napi_keys = ["key-of-orders"]\n'
    )
    settings = loaded(monkeypatch, TARGET__RATE_PER_S="7")
    assert settings.all_flows["default"].target.url == "http://file/"
    assert settings.all_flows["default"].target.rate_per_s == 7
    assert len(settings.all_flows["orders"].source.api_keys) == 1


def test_a_secret_is_read_from_the_file_that_its_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text("key-one-\n,key,two\n")
    settings = loaded(monkeypatch, SOURCE__API_KEYS_FILE=str(tmp_path / "keys"))
    assert texts(settings.all_flows["default"].source.api_keys) == ["key-one-", ",key,two"]


def test_a_byte_order_mark_is_no_part_of_a_secret_or_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two files of an editor on Windows were joined: a mark stood in the middle, and the key was refused."""
    keys, url = tmp_path / "keys", tmp_path / "url"
    keys.write_bytes(b"\xef\xbb\xbffirst-key\r\n\xef\xbb\xbfother-key\r\n")
    url.write_bytes(b"\xef\xbb\xbfhttp://target/\r\n")
    flow = loaded(monkeypatch, SOURCE__API_KEYS_FILE=str(keys), TARGET__URL_FILE=str(url)).all_flows["default"]
    assert (texts(flow.source.api_keys), flow.target.url) == (["first-key", "other-key"], "http://target/")


@pytest.mark.parametrize(
    "line",
    [
        'target.headers = {Authorization = "Bearer ${TOKEN}"}',
        'broker.url = ["amqp://good/", "amqp://u:${PASSWORD}@h/"]',
        'source.api_keys = ["${API_KEY}"]',
    ],
)
def test_parts_of_a_value_in_toml_are_looked_at_one_by_one(tmp_path: Path, line: str) -> None:
    (tmp_path / "some.toml").write_text(line)
    with pytest.raises(SettingsError, match=r"quotes|not expanded"):
        load(tmp_path / "some.toml")


def test_white_space_around_a_value_is_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """An env file with the line ends of Windows."""
    settings = loaded(
        monkeypatch,
        COLLECTOR__HOST=" [::] ",
        COLLECTOR__SPOOL_DIR=" /vol\r",
        SOURCE__ALLOW_UNAUTHENTICATED="TRUE\r",
        TARGET__FORMAT="raw\r",
        TARGET__RATE_PER_S=" 5\r",
        TARGET__URL="http://target/\r",
    )
    assert (settings.collector.host, settings.collector.spool_dir) == ("::", Path("/vol"))
    flow = settings.all_flows["default"]
    assert flow.source.allow_unauthenticated
    assert (flow.target.format, flow.target.rate_per_s, flow.target.url) == ("raw", 5, "http://target/")


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_path_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    settings = loaded(monkeypatch, COLLECTOR__SPOOL_DIR=text, CONSOLE__USERS_FILE=text)
    assert (settings.collector.spool_dir, settings.console.users_file) == (None, None)


@pytest.mark.parametrize("text", ["some-key", ""])
def test_a_variable_and_its_file_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "keys").write_text("other-key\n")
    with pytest.raises(
        SettingsError, match="EVENTFLOW_SOURCE__API_KEYS and EVENTFLOW_SOURCE__API_KEYS_FILE are both set"
    ):
        loaded(monkeypatch, SOURCE__API_KEYS=text, SOURCE__API_KEYS_FILE=str(tmp_path / "keys"))


def test_a_program_that_finds_itself_a_broker_reads_the_urls_in_an_environment(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("amqp://h/\n")
    assert broker_urls_in({"EVENTFLOW_BROKER__URL": ""}) == ()
    named = {
        "EVENTFLOW_BROKER__URL_FILE": str(tmp_path / "url"),
        "EVENTFLOW_BROKER__USERNAME": "u",
        "EVENTFLOW_BROKER__PASSWORD": "p/",
        "EVENTFLOW_SOURCE__API_KEYS_FILE": "/nowhere",
    }
    assert broker_urls_in(named) == ("amqp://u:p%2F@h/",)
