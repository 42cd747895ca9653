"""The section `[target]`."""

import json

import pytest

from eventflow.errors import SettingsError
from tests.support.settings import loaded


@pytest.mark.parametrize("name", ["Content-Length", "TRANSFER-ENCODING", "Expect", "trailer", "Upgrade"])
def test_a_static_header_that_frames_requests_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Reproduced on 0.1.0: `Content-Length: 3` cut bodies off, and `Expect` sent none; both counted as delivered."""
    with pytest.raises(SettingsError, match=f"EVENTFLOW_TARGET__HEADERS: {name} "):
        loaded(monkeypatch, TARGET__HEADERS=json.dumps({name: "3"}))


@pytest.mark.parametrize(
    "url",
    [
        *("http://user:s3cret/s3cret@host/", "http://user:s3@cret@host/", "http://user:s3cret\uff20x@host/"),
        *("http://user:s3[cret@host/", "http://host:99999/", "http://host:0/", "http://host:port/"),
    ],
)
def test_a_wrong_target_url_shows_no_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_TARGET__URL") as raised:
        loaded(monkeypatch, TARGET__URL=url)
    assert "s3" not in str(raised.value)
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize(
    "proxy",
    [
        *("https://u:s3cret@proxy:1/", "http://u:s3cret@proxy:1/path", "http://u:s3cret@proxy:99999", "proxy:3128"),
        *("http://u:s3@cret@proxy:1", "socks5://u:s3cret@proxy:1", "http://:s3cret@proxy:1", "http://u:s3cret@/", ""),
    ],
)
def test_a_wrong_proxy_shows_no_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_TARGET__PROXY: http://host:port") as raised:
        loaded(monkeypatch, TARGET__PROXY=proxy)
    assert "s3" not in str(raised.value)
    assert "cret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_proxy_has_its_password_decoded_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    target = loaded(monkeypatch, TARGET__PROXY="http://user:s3%3Acret%2F@proxy.test").target
    assert target is not None
    assert target.http_proxy is not None
    assert (target.http_proxy.place, target.http_proxy.password) == ("proxy.test:80", "s3:cret/")
    for shown in (repr(target), repr(target.http_proxy)):
        assert "s3" not in shown


@pytest.mark.parametrize("url", ["http://{id}.test/", "http://h/{name}", "http://h/#{id}", "http://h/{{id}"])
def test_wrong_braces_in_a_target_url_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_TARGET__URL") as raised:
        loaded(monkeypatch, TARGET__URL=url)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["Host", "Idempotency-Key", "ce-type", "Content-Type", "webhook-id", "TRACEPARENT"])
def test_headers_of_every_request_take_no_attributes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SettingsError, match=r"EVENTFLOW_TARGET__HEADERS: .*no attributes in braces"):
        loaded(monkeypatch, TARGET__HEADERS=json.dumps({name: "{id}"}))
    loaded(monkeypatch, TARGET__HEADERS=json.dumps({name: "fixed"}))


@pytest.mark.parametrize("name", ["TARGET__CA_FILE", "TARGET__CLIENT_CERTIFICATE_FILE", "CONSOLE__USERS_FILE"])
def test_a_setting_that_is_a_file_is_a_path_and_not_its_content(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    section, field = name.lower().split("__")
    settings = loaded(monkeypatch, **{name: "/etc/none.pem"})
    assert str(getattr(getattr(settings, section), field)) == "/etc/none.pem"
    with pytest.raises(SettingsError, match=f"EVENTFLOW_{name}.*absolute"):
        loaded(monkeypatch, **{name: "none.pem"})


@pytest.mark.parametrize("setting", ["CLIENT_ID", "CLIENT_SECRET", "SCOPE", "AUDIENCE"])
def test_an_oauth_setting_without_a_token_url_is_refused(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    with pytest.raises(SettingsError, match=f"EVENTFLOW_TARGET__OAUTH2_{setting}.*has no effect"):
        loaded(monkeypatch, **{f"TARGET__OAUTH2_{setting}": "some-value"})


def test_a_token_and_a_header_of_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="Authorization"):
        loaded(
            monkeypatch,
            TARGET__HEADERS='{"authorization": "Bearer x"}',
            TARGET__OAUTH2_TOKEN_URL="https://id.test/token",
            TARGET__OAUTH2_CLIENT_ID="event-flow",
        )


def test_a_token_url_needs_a_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_TARGET__OAUTH2_CLIENT_ID: a client id is expected"):
        loaded(monkeypatch, TARGET__OAUTH2_TOKEN_URL="https://user-free.test/token?tenant=s3cret")
