"""What `make run-local` gives to the services."""

from pathlib import Path

import pytest

from eventflow.settings.environment import capitalized
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from sandbox.broker.provision import Broker
from sandbox.up.environment import PROCESSOR_PORT, TARGET_RATE_PER_S, describe, for_services

BROKER = Broker(url="amqp://h/", management_url="http://h:15672", login="u", password="p", node=None)


@pytest.mark.parametrize("role", Role)
def test_the_services_take_what_run_local_chooses_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, role: Role
) -> None:
    monkeypatch.chdir(tmp_path)
    users = capitalized({"eventflow_target__burst": "3", "EVENTFLOW_TARGET__RATE_PER_S": "", "PATH": "/bin"})
    for name, value in for_services(users, BROKER, Path(".local"), 8090).items():
        monkeypatch.setenv(name, value)
    settings = load(role=role)
    target = settings.all_flows["default"].target
    if role is Role.COLLECTOR:
        assert settings.collector.spool_dir == tmp_path / ".local" / "spool"
    if role is Role.PROCESSOR:
        assert target.burst == 3
        assert target.rate_per_s == TARGET_RATE_PER_S


def test_run_json_has_the_settings_of_the_services_without_the_users_own_secrets(tmp_path: Path) -> None:
    users = {"EVENTFLOW_TARGET__HEADERS": "secret", "EVENTFLOW_TARGET__BURST": "3", "PATH": "/bin"}
    environment = for_services(users, BROKER, tmp_path, 8090)
    run = describe(users, environment, {**environment, PROCESSOR_PORT: "1"}, BROKER, 8090)
    assert run.settings["EVENTFLOW_BROKER__URL"] == BROKER.url
    assert run.settings["EVENTFLOW_TARGET__BURST"] == "3"
    assert {"PATH", "EVENTFLOW_TARGET__HEADERS"}.isdisjoint(run.settings)
