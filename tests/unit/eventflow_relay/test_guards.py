"""Checks before the start of the relay."""

import sys

import pytest

from eventflow.errors import SettingsError
from eventflow.settings.roles import Role
from eventflow_relay.guards import database_url_of
from tests.support.settings import loaded

URL = "postgresql://me:secret@host/shop"


def test_a_relay_without_a_database_is_told_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="EVENTFLOW_RELAY__DATABASE_URL is not set"):
        database_url_of(loaded(monkeypatch, role=Role.RELAY))


def test_a_relay_without_the_driver_is_told_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, role=Role.RELAY, RELAY__DATABASE_URL=URL)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(SettingsError, match=r"pip install 'event-flow\[postgres\]'"):
        database_url_of(settings)


def test_a_relay_needs_no_secret_of_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        role=Role.RELAY,
        RELAY__DATABASE_URL=URL,
        FLOWS__ORDERS__TARGET__HEADERS="${NOT_GIVEN}",
        FLOWS__ORDERS__SOURCE__API_KEYS="${NOT_GIVEN}",
    )
    assert database_url_of(settings) == URL
    assert list(settings.all_flows) == ["orders"]
