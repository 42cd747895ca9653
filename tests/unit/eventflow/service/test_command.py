"""The start that all services share, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from eventflow.service.lifecycle import EXIT_CONFIGURATION, EXIT_PROBLEM
from tests.support.services import scrubbed_environment

PROGRAM = """
from eventflow.errors import EventFlowError, SettingsError
from eventflow.service.command import start_service
from eventflow.settings.roles import Role

def guard(settings):
    if "guard" in {argument!r}:
        raise SettingsError("EVENTFLOW_X is not set")

async def main(settings, descriptors):
    print("started", settings.collector.port, descriptors > 0)
    if "main" in {argument!r}:
        raise EventFlowError("the broker is gone")

start_service("a-service", Role.COLLECTOR, main, config=None, guards=[guard])
"""


@pytest.mark.parametrize(
    ("argument", "status", "starts", "error"),
    [
        ("nothing fails", 0, True, ""),
        ("the guard fails", EXIT_CONFIGURATION, False, "EVENTFLOW_X is not set\n"),
        ("main fails", EXIT_PROBLEM, True, ""),
    ],
)
def test_a_service_ends_with_a_status_and_starts_only_if_its_guards_pass(
    tmp_path: Path, argument: str, status: int, starts: bool, error: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(argument=argument)],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=scrubbed_environment() | {"EVENTFLOW_COLLECTOR__PORT": "7"},
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (status, error)
    assert ("started 7 True" in ended.stdout) == starts
    assert ('"error": "the broker is gone"' in ended.stdout) == (argument == "main fails")


def test_a_service_warns_of_a_variable_that_it_ignores(tmp_path: Path) -> None:
    """Such a name may be a setting that lacks an underscore."""
    links = {"EVENTFLOW_COLLECTOR_PORT": "8080", "EVENTFLOW_COLLECTOR_SERVICE_PORT": "8080"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(argument="nothing fails")],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=scrubbed_environment() | {"EVENTFLOW_COLLECTOR__PORT": "7"} | links,
        text=True,
        timeout=60,
    )
    warned = [line for line in ended.stdout.splitlines() if "settings.variable_ignored" in line]
    assert len(warned) == 1
    assert '"variable": "EVENTFLOW_COLLECTOR_PORT"' in warned[0]
