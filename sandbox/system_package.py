"""Installs programs that the sandbox and the tests run, with the system's own package manager."""

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
    """Programs as package managers know them.

    Attributes:
        title: What people call them.
        names: Package names by manager; a manager that is not here does not have them.
        units: systemd services that it would run, by the program that, where it was there before, runs them rightly.
    """

    title: str
    names: Mapping[str, tuple[str, ...]]
    units: Mapping[str, tuple[str, ...]]


RABBITMQ = Package(
    title="RabbitMQ",
    names={"apt-get": ("rabbitmq-server",), "dnf": ("rabbitmq-server",), "brew": ("rabbitmq",)},
    units={"rabbitmq-server": ("rabbitmq-server.service",), "epmd": ("epmd.socket", "epmd.service")},
)
PROMETHEUS = Package(
    title="Prometheus",
    names={"apt-get": ("prometheus", "prometheus-alertmanager"), "brew": ("prometheus", "alertmanager")},
    units={"prometheus": ("prometheus.service",), "prometheus-alertmanager": ("prometheus-alertmanager.service",)},
)
WRK = Package(title="wrk", names={"apt-get": ("wrk",), "brew": ("wrk",)}, units={})

# What each package manager is told, in the order in which they are looked for. The last command installs; the ones
# before it prepare and may fail, as one broken package source need not matter.
_COMMANDS: dict[str, list[list[str]]] = {
    "apt-get": [["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends"]],
    "dnf": [["dnf", "install", "--assumeyes"]],
    "brew": [["brew", "install"]],
}


class InstallError(Exception):
    """A package could not be installed; the text says why."""


def install(package: Package, say: Callable[[str], None]) -> None:
    """Install a system package, without the services that it would run.

    Args:
        say: Is told what is about to happen, before it does.

    Raises:
        InstallError: There is no package manager, no right to use it, or it failed.
    """
    manager = next((name for name in _COMMANDS if name in package.names and shutil.which(name)), None)
    if manager is None:
        raise InstallError(f"none of {', '.join(package.names)} is here")
    prefix = [] if manager == "brew" else _as_root()
    new_units = [unit for program, units in package.units.items() if not shutil.which(program) for unit in units]
    *preparations, installation = _COMMANDS[manager]
    installation = [*installation, *package.names[manager]]
    for command in preparations:
        say(f"Before installing {package.title}: {' '.join(prefix + command)}")
        _run(prefix + command)
    say(f"Installing {package.title}: {' '.join(prefix + installation)}")
    if not _run(prefix + installation):
        raise InstallError(f"{' '.join(prefix + installation)} failed")
    _stop_services(prefix, new_units)


def _as_root() -> list[str]:
    """Return what must stand before a command that only root may run.

    Raises:
        InstallError: sudo is not there, or would ask for a password.
    """
    environment = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "RUNLEVEL=1",
    ]  # runlevel 1: packages start no services
    if os.geteuid() == 0:
        return environment
    if (
        shutil.which("sudo") is None
        or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode
    ):
        raise InstallError("installing a system package needs root, and sudo asks for a password here")
    return ["sudo", "-n", *environment]


def _run(command: list[str]) -> bool:
    """Run a command, its output on standard error; say whether it succeeded."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=_STDERR, stderr=_STDERR, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{' '.join(command)}: {error}") from error
    return done.returncode == 0


def _stop_services(prefix: list[str], units: list[str]) -> None:
    """Undo what systemd makes of a new package: a service on the usual ports, at every boot."""
    if Path("/run/systemd/system").is_dir():
        for unit in units:
            subprocess.run([*prefix, "systemctl", "disable", "--now", unit], capture_output=True, check=False)
