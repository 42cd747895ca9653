"""Health check of the image: exit status 0 if the service in this container answers on its admin port.

One image holds all services, so the check tries the admin addresses of all of them. It reads them
from the settings of this container: the environment variables, and the TOML file. That file is named by `--config`
(of this command, or of the service) or by EVENTFLOW_CONFIG.
"""

import os
import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from eventflow.errors import SettingsError
from eventflow.network.listener import reachable_hosts
from eventflow.settings.addresses import (
    COLLECTOR_ADMIN_PORT,
    CONSOLE_ADMIN_PORT,
    DEFAULT_HOST,
    PROCESSOR_ADMIN_PORT,
    RELAY_ADMIN_PORT,
)
from eventflow.settings.environment import config_file, from_environment, from_toml, read_files

TIMEOUT_S = 1.0
USUAL_PORTS = {
    "collector": COLLECTOR_ADMIN_PORT,
    "processor": PROCESSOR_ADMIN_PORT,
    "console": CONSOLE_ADMIN_PORT,
    "relay": RELAY_ADMIN_PORT,
}
SERVICES = {f"eventflow-{name}" for name in USUAL_PORTS}


def admin_address(section: str, toml: dict[str, Any]) -> tuple[str, int]:
    """Return host and port of a service's admin listener.

    Raises:
        SettingsError: A variable names a file that cannot be read.
        ValueError: The port is not a number.
    """
    admin = {key: value for key, value in table_of(from_environment(os.environ), section).items() if "admin" in key}
    placed = {**table_of(toml, section), **read_files(admin)}
    host = str(placed.get("admin_host", DEFAULT_HOST)).strip()
    return host.removeprefix("[").removesuffix("]"), int(placed.get("admin_port", USUAL_PORTS[section]))


def table_of(values: dict[str, Any], section: str) -> dict[str, Any]:
    """Return the values of a section, or nothing if it is not a table: the service reports that error at its start."""
    found = values.get(section)
    return found if isinstance(found, dict) else {}


def addresses_in(named: Path | None) -> list[tuple[str, int]]:
    """Return the addresses of all services in the settings.

    Raises:
        SettingsError: As in `admin_address`, or the TOML file cannot be read.
        ValueError: As in `admin_address`.
    """
    config = config_file(named, os.environ)
    toml = {} if config is None else from_toml(config)
    return [admin_address(section, toml) for section in USUAL_PORTS]


def configs_of_services() -> Iterator[Path]:
    """Yield the files that `--config` names on the command lines of the services in this container."""
    here = Path("/proc/self/ns/mnt")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ArgumentError):  # a process that has ended, or of another user
            words = (process / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
            # The second word is the service if the first is its interpreter.
            is_service = not SERVICES.isdisjoint(Path(word).name for word in words[:2])
            if is_service and (process / "ns/mnt").readlink() == here.readlink():
                options = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
                options.add_argument("--config", type=Path)
                if (config := options.parse_known_args(words)[0].config) is not None:
                    yield config


def is_alive(host: str, port: int) -> bool:
    """Return True if `GET /livez` at this address is answered with 200."""
    # Not urllib: it would send the request to the proxy in HTTP_PROXY.
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, HTTPException, UnicodeError):
        return False
    finally:
        connection.close()


def main() -> None:
    """Try every address on which a service may listen."""
    options = ArgumentParser(description="Exit with status 0 if the service in this container is alive.")
    options.add_argument("--config", type=Path, help="TOML file with the settings of the service")
    given = options.parse_args().config
    named: list[Path | None] = [given] if given is not None else [*configs_of_services()] or [None]
    try:
        addresses = {address for config in named for address in addresses_in(config)}
    except (SettingsError, ValueError) as error:
        sys.exit(f"not alive: {error}")
    if any(is_alive(place, port) for host, port in addresses for place in reachable_hosts(host) if port):
        return
    asked = ", ".join(f"{host} port {port or '0, which no health check can find'}" for host, port in sorted(addresses))
    sys.exit(f"not alive: no service answers on {asked}")


main()
