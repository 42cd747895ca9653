"""The units for systemd: they agree with the services, and systemd's own checks pass them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eventflow.service.lifecycle import EXIT_CONFIGURATION
from eventflow.service.supervision import PINGS_PER_TIMEOUT
from eventflow.settings.collector import CollectorSettings
from eventflow.settings.environment import from_environment
from eventflow.settings.processor import ProcessorSettings
from eventflow.settings.root import SECTIONS
from eventflow_collector.server.supervisor import KILL_AFTER_S

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
COLLECTOR = UNITS / "eventflow-collector.service"
PROCESSOR = UNITS / "eventflow-processor@.service"
CONSOLE = UNITS / "eventflow-console.service"
RELAY = UNITS / "eventflow-relay.service"
UNITS_OF_SERVICES = (COLLECTOR, PROCESSOR, RELAY, CONSOLE)
OLDEST_SYSTEMD = 250
EXPOSURE_MAX = 15
"""Of 100, in tenths of the figure that systemd-analyze shows; below 20 it is called OK."""


def values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def installed(unit: Path, directory: Path) -> Path:
    """Return a copy of a unit with a name that can be started, which runs the programs of this environment."""
    copy = directory / unit.name.replace("@.", "@1.")
    copy.write_text(unit.read_text().replace("/opt/eventflow/bin", str(Path(sys.executable).parent)))
    return copy


def analyze(*arguments: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    shown = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True, timeout=60)
    if int(shown.stdout.split()[1]) < OLDEST_SYSTEMD:
        pytest.skip(f"systemd-analyze is older than {OLDEST_SYSTEMD}")
    command = ["systemd-analyze", *arguments]
    # Without a service manager on this machine it must not look for one.
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_COLORS": "0"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("unit", UNITS_OF_SERVICES, ids=lambda unit: unit.name)
class TestUnit:
    def test_systemd_finds_no_mistake(self, unit: Path, tmp_path: Path) -> None:
        analyze("verify", "--recursive-errors=no", str(installed(unit, tmp_path)))

    def test_the_service_has_few_rights(self, unit: Path, tmp_path: Path) -> None:
        analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(installed(unit, tmp_path)))

    def test_a_wrong_setting_is_no_reason_to_start_again(self, unit: Path) -> None:
        assert values(unit, "RestartPreventExitStatus") == [str(EXIT_CONFIGURATION)]

    def test_the_service_may_drain_before_it_is_killed(self, unit: Path) -> None:
        [timeout_s] = values(unit, "TimeoutStopSec")
        # The parent of several workers kills them after this time, and needs a moment to end itself.
        assert int(timeout_s) > CollectorSettings().stop_within_s + KILL_AFTER_S
        assert int(timeout_s) >= 2 * ProcessorSettings().drain_timeout_s

    def test_the_comment_gives_the_time_between_keep_alive_messages(self, unit: Path) -> None:
        [timeout_s] = values(unit, "WatchdogSec")
        assert f"every {int(timeout_s) / PINGS_PER_TIMEOUT:g} s" in unit.read_text()

    def test_every_variable_is_a_setting(self, unit: Path) -> None:
        variables = dict(value.split("=", 1) for value in values(unit, "Environment"))
        for section, fields in from_environment(variables).items():
            assert fields.keys() <= SECTIONS[section].model_fields.keys()


def test_the_units_differ_only_where_they_must() -> None:
    def lines(unit: Path) -> set[str]:
        text = re.sub("collector|processor|relay|console", "SERVICE", unit.read_text())
        return {line for line in text.splitlines() if line and not line.startswith("#")}

    shared = set.intersection(*map(lines, UNITS_OF_SERVICES))
    own = {unit: {line.split("=")[0] for line in lines(unit) - shared} for unit in UNITS_OF_SERVICES}
    assert own == {
        COLLECTOR: {
            *("Description", "KillMode", "LoadCredential", "StateDirectory", "StateDirectoryMode", "Environment")
        },
        PROCESSOR: {"Description", "LoadCredential"},
        RELAY: {"Description", "LoadCredential", "Environment"},
        CONSOLE: {"Description", "LoadCredential", "Environment"},
    }
