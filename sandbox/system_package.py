"""Installs RabbitMQ with the system's own package manager."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

_PACKAGE = "rabbitmq-server"
# What each package manager is told, in the order in which they are looked for. The last command installs; the ones
# before it prepare and may fail, as one broken package source need not matter.
_COMMANDS: dict[str, list[list[str]]] = {
    "apt-get": [["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", _PACKAGE]],
    "dnf": [["dnf", "install", "--assumeyes", _PACKAGE]],
    "brew": [["brew", "install", "rabbitmq"]],
}
_UNITS = ["rabbitmq-server.service"]
_EPMD_UNITS = ["epmd.socket", "epmd.service"]
_TIMEOUT_S = 900.0
_STDERR = 2


class InstallError(Exception):
    """RabbitMQ could not be installed; the text says why."""


def install(say: Callable[[str], None]) -> None:
    """Install RabbitMQ's system package, without the service that the package would run.

    Args:
        say: Is told what is about to happen, before it does.

    Raises:
        InstallError: There is no package manager, no right to use it, or it failed.
    """
    manager = next((name for name in _COMMANDS if shutil.which(name)), None)
    if manager is None:
        raise InstallError(f"none of {', '.join(_COMMANDS)} is here")
    prefix = [] if manager == "brew" else _as_root()
    had_epmd = shutil.which("epmd") is not None
    *preparations, installation = _COMMANDS[manager]
    for command in preparations:
        say(f"Before installing RabbitMQ: {' '.join(prefix + command)}")
        _run(prefix + command)
    say(f"Installing RabbitMQ: {' '.join(prefix + installation)}")
    if not _run(prefix + installation):
        raise InstallError(f"{' '.join(prefix + installation)} failed")
    _stop_services(prefix, _UNITS if had_epmd else _UNITS + _EPMD_UNITS)


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
