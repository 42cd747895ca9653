"""The section of a handler, and its place beside the section of the target."""

import pytest

from eventflow.errors import SettingsError
from eventflow.settings.roles import Role
from tests.support.settings import loaded

URL = "postgresql://shop:secret-word@db/shop"


def test_a_flow_has_a_handler_in_place_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = loaded(
        monkeypatch, HANDLER__CALL="shop.handlers:handle", HANDLER__DATABASE_URL=URL, TARGET__RATE_PER_S="5"
    ).all_flows["default"]
    assert (flow.handler.call, flow.target.url, flow.target.rate_per_s) == ("shop.handlers:handle", None, 5)


def test_a_flow_of_its_own_name_has_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, FLOWS__ORDERS__HANDLER__CALL="a:b.c", FLOWS__ORDERS__HANDLER__SESSION="d:e")
    assert set(settings.all_flows) == {"orders"}
    assert settings.all_flows["orders"].handler.has_database


def test_the_limits_of_its_attempts_are_those_of_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = loaded(
        monkeypatch, HANDLER__CALL="a:b", HANDLER__TIMEOUT_S="7", HANDLER__CONCURRENCY="3", TARGET__MAX_ATTEMPTS="4"
    ).all_flows["default"]
    assert (flow.attempts.timeout_s, flow.attempts.concurrency, flow.attempts.max_attempts) == (7, 3, 4)


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("TARGET__URL", "http://api/", "remove it"),
        ("TARGET__HEADERS", '{"a": "b"}', "remove it"),
        ("TARGET__TIMEOUT_S", "9", "set EVENTFLOW_HANDLER__TIMEOUT_S"),
        ("TARGET__CONCURRENCY", "9", "set EVENTFLOW_HANDLER__CONCURRENCY"),
    ],
)
def test_a_setting_that_a_handler_does_not_use_is_an_error(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, advice: str
) -> None:
    with pytest.raises(SettingsError, match=f"EVENTFLOW_{setting} has no effect.*: {advice}"):
        loaded(monkeypatch, HANDLER__CALL="a:b", **{setting: value})


@pytest.mark.parametrize(
    "call", ["shop.handlers", "shop/handlers.py:handle", ":handle", "shop:", "shop:handle()", "a b:c"]
)
def test_a_function_is_named_by_module_and_name(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    with pytest.raises(SettingsError, match=r"EVENTFLOW_HANDLER__CALL.*module:name is expected"):
        loaded(monkeypatch, HANDLER__CALL=call)


@pytest.mark.parametrize(
    "url", ["shop", "mysql://a:secret-word@b/c", "postgresql://a:secret-word@b", "sqlite:///secret-word"]
)
def test_no_error_about_a_database_shows_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_HANDLER__DATABASE_URL") as caught:
        loaded(monkeypatch, HANDLER__CALL="a:b", HANDLER__DATABASE_URL=url)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("variable", ["HANDLER__DATABASE_URL", "RELAY__DATABASE_URL", "HISTORY__URL"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:secret/word@db/shop",
        "postgresql://shop:secret?word@db/shop",
        "postgresql://shop:secret#word@db/shop",
        "postgresql://shop@acme:secret/word@db/shop",
    ],
)
def test_a_password_that_would_be_read_as_the_name_of_the_database_is_an_error(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    with pytest.raises(SettingsError, match=f"EVENTFLOW_{variable}.*write / as %2F") as caught:
        loaded(monkeypatch, HANDLER__CALL="a:b", **{variable: url})
    assert "secret" not in str(caught.value)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize("variable", ["HANDLER__DATABASE_URL", "HISTORY__URL"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:secret%2Fword@db/shop",
        "postgresql://shop:p@ss@db/shop?sslmode=verify-full",
        "postgres://shop@db-1:5432,db-2:5432/shop",
    ],
)
def test_every_other_url_of_postgresql_is_taken(monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    loaded(monkeypatch, HANDLER__CALL="a:b", **{variable: url})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"HANDLER__DATABASE_URL": URL}, "HANDLER__DATABASE_URL: it has no effect, because call is not set"),
        ({"HANDLER__SESSION": "a:b"}, "HANDLER__SESSION.*: it has no effect, because call is not set"),
        (
            {"HANDLER__CALL": "a:b", "HANDLER__DATABASE_URL": URL, "HANDLER__SESSION": "a:b"},
            "HANDLER__SESSION.*: set either this or database_url",
        ),
        (
            {"HANDLER__CALL": "a:b", "HANDLER__SESSION": "a:b", "HANDLER__PREPARED_STATEMENTS": "true"},
            "HANDLER__PREPARED_STATEMENTS.*: it has no effect with session",
        ),
    ],
)
def test_settings_of_a_database_that_exclude_each_other_or_lack_a_function_are_errors(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        loaded(monkeypatch, **values)


def test_the_relay_needs_no_secret_of_targets_and_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        role=Role.RELAY,
        RELAY__DATABASE_URL=URL,
        FLOWS__NOTIFY__TARGET__HEADERS_FILE="/nowhere",
        FLOWS__ORDERS__HANDLER__DATABASE_URL_FILE="/nowhere",
    )
    assert set(settings.all_flows) == {"notify", "orders"}
