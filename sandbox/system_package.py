"""Installs programs for the sandbox and the tests with the package manager of the system."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 900.0
_STDERR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Programs and their names in each package manager.

    Attributes:
        title: Name for people.
        names: Package names by package manager; a manager without an entry does not offer them.
        units: systemd services that the installation would start, by program. If the program was installed before,
            its services are left alone.
    """

    title: str
    names: Mapping[str, tuple[str, ...]]
    units: Mapping[str, tuple[str, ...]]


RABBITMQ = Package(
    title="RabbitMQ",
    names={"apt-get": ("rabbitmq-server",), "dnf": ("rabbitmq-server",), "brew": ("rabbitmq",)},
    units={"rabbitmq-server": ("rabbitmq-server.service",), "epmd": ("epmd.socket", "epmd.service")},
)
POSTGRESQL = Package(
    title="PostgreSQL",
    names={"apt-get": ("postgresql",), "dnf": ("postgresql-server",), "brew": ("postgresql@17",)},
    units={"pg_lsclusters": ("postgresql.service",), "postgres": ("postgresql.service",)},
)
PROMETHEUS = Package(
    title="Prometheus",
    names={"apt-get": ("prometheus", "prometheus-alertmanager"), "brew": ("prometheus", "alertmanager")},
    units={"prometheus": ("prometheus.service",), "prometheus-alertmanager": ("prometheus-alertmanager.service",)},
)
CHROMIUM = Package(
    title="Chromium", names={"apt-get": ("chromium",), "dnf": ("chromium",), "brew": ("google-chrome",)}, units={}
)
WRK = Package(title="wrk", names={"apt-get": ("wrk",), "brew": ("wrk",)}, units={})

# Commands of each package manager; the first manager that is found is used. The last command installs. The commands
# before it prepare and may fail, because a single broken package source need not prevent the installation.
_COMMANDS: dict[str, list[list[str]]] = {
    "apt-get": [["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends"]],
    "dnf": [["dnf", "install", "--assumeyes"]],
    "brew": [["brew", "install"]],
}


class InstallError(Exception):
    """A package could not be installed; the text gives the reason."""


def install(package: Package, notify: Callable[[str], None]) -> None:
    """Install a system package, without the services that it would start.

    Args:
        notify: Called with a notice before each command.

    Raises:
        InstallError: There is no package manager, the user may not use it, or it failed.
    """
    manager = next((name for name in _COMMANDS if name in package.names and shutil.which(name)), None)
    if manager is None:
        raise InstallError(f"none of {', '.join(package.names)} is installed")
    prefix = [] if manager == "brew" else _as_root()
    new_units = [unit for program, units in package.units.items() if not shutil.which(program) for unit in units]
    *preparations, installation = _COMMANDS[manager]
    installation = [*installation, *package.names[manager]]
    for command in preparations:
        notify(f"Before installing {package.title}: {' '.join(prefix + command)}")
        _run(prefix + command)
    notify(f"Installing {package.title}: {' '.join(prefix + installation)}")
    if not _run(prefix + installation):
        raise InstallError(f"{' '.join(prefix + installation)} failed")
    _stop_services(prefix, new_units)


def _as_root() -> list[str]:
    """Return the words that run a command as root.

    Raises:
        InstallError: sudo is missing or asks for a password.
    """
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]  # in runlevel 1 packages start no services
    if os.geteuid() == 0:
        return environment
    if (
        shutil.which("sudo") is None
        or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode
    ):
        raise InstallError(
            "the installation of a system package needs root, and sudo is missing or asks for a password"
        )
    return ["sudo", "-n", *environment]


def _run(command: list[str]) -> bool:
    """Run a command with its output on standard error; return whether it succeeded."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=_STDERR, stderr=_STDERR, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{' '.join(command)}: {error}") from error
    return done.returncode == 0


def _stop_services(prefix: list[str], units: list[str]) -> None:
    """Stop and disable the services of a new package: they would use the usual ports, at every boot."""
    if Path("/run/systemd/system").is_dir():
        for unit in units:
            subprocess.run([*prefix, "systemctl", "disable", "--now", unit], capture_output=True, check=False)
