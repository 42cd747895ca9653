"""The settings that `make run-local` gives to the services."""

import os
import re
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from eventflow.settings.environment import capitalized
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from sandbox.broker.provision import Broker
from sandbox.processes import wait_until
from sandbox.up.children import TARGET, Children
from sandbox.up.environment import PROCESSOR_PORT, TARGET_RATE_PER_S, describe, for_services, of_target
from sandbox.up.steps import Steps

BROKER = Broker(url="amqp://h/", management_url="http://h:15672", login="u", password="p", node=None)


@pytest.mark.parametrize("role", Role)
def test_the_services_take_what_run_local_chooses_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, role: Role
) -> None:
    monkeypatch.chdir(tmp_path)
    users = capitalized({"eventflow_target__burst": "3", "EVENTFLOW_TARGET__RATE_PER_S": "", "PATH": "/bin"})
    for name, value in for_services(users, BROKER, Path(".local"), of_target(8090)).items():
        monkeypatch.setenv(name, value)
    settings = load(role=role)
    target = settings.all_flows["default"].target
    if role is Role.COLLECTOR:
        assert settings.collector.spool_dir == tmp_path / ".local" / "spool"
    if role is Role.PROCESSOR:
        assert target.burst == 3
        assert target.rate_per_s == TARGET_RATE_PER_S
    if role in {Role.PROCESSOR, Role.CONSOLE, Role.OPERATOR}:
        assert settings.history.url is not None
        assert settings.history.url.get_secret_value() == f"sqlite:///{tmp_path}/.local/history.db"


def test_run_json_has_the_settings_of_the_services_without_the_users_own_secrets(tmp_path: Path) -> None:
    users = {"EVENTFLOW_TARGET__HEADERS": "secret", "EVENTFLOW_TARGET__BURST": "3", "PATH": "/bin"}
    environment = for_services(users, BROKER, tmp_path, of_target(8090))
    run = describe(users, environment, {**environment, PROCESSOR_PORT: "1"}, BROKER, 8090)
    assert run.settings["EVENTFLOW_BROKER__URL"] == BROKER.url
    assert run.settings["EVENTFLOW_TARGET__BURST"] == "3"
    assert {"PATH", "EVENTFLOW_TARGET__HEADERS"}.isdisjoint(run.settings)


def steps_of(console: Console) -> None:
    with Steps(console, "broker", "target") as steps:
        steps.begin("broker")
        steps.end("broker")
        steps.begin("target")


def test_each_step_of_a_start_is_one_line_without_a_terminal() -> None:
    output = StringIO()
    steps_of(Console(file=output))
    assert re.fullmatch(r"✓ broker: ready after \d+\.\d s\n", output.getvalue())


def test_the_steps_of_a_start_are_a_display_in_a_terminal() -> None:
    output = StringIO()
    steps_of(Console(file=output, force_terminal=True, color_system=None))
    assert re.search(r"✓ broker: ready after \d+\.\d s", output.getvalue())
    assert re.search(r"target starts: \d+\.\d s", output.getvalue())


COUNTS_SIGNALS = """
import signal, time
signals = []
signal.signal(signal.SIGTERM, lambda *_: signals.append(1))
print("up", flush=True)
while not signals:
    time.sleep(0.01)
time.sleep(0.3)  # an orderly end takes time
print(f"{len(signals)} signals", flush=True)
"""


def test_the_end_of_a_run_sends_sigterm_once_to_each_child(tmp_path: Path) -> None:
    """The target's `run_app` of aiohttp shows a traceback for a second SIGTERM during its end."""
    (tmp_path / "counts_signals.py").write_text(COUNTS_SIGNALS)
    output = StringIO()
    with ExitStack() as stack:
        children = Children(Console(file=output), SimpleNamespace(hurried=False), stack)  # type: ignore[arg-type]
        children.start({TARGET: ["counts_signals"]}, {**os.environ, "PYTHONPATH": str(tmp_path)})
        wait_until(lambda: "up" in output.getvalue(), timeout_s=30, what="the child")
    assert "1 signals" in output.getvalue()
