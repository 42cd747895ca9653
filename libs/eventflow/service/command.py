"""The start that all services share: settings, logs, guards, the limit of open files, and the exit status."""

import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from eventflow.service import lifecycle
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.telemetry import logging
from eventflow.telemetry.tracers import require_endpoints

ConfigOption = Annotated[Path | None, typer.Option(help="TOML file with settings; environment variables override it.")]

Guard = Callable[[Settings], None]
"""A check before the start, beyond each setting on its own. It raises SettingsError."""

Main = Callable[[Settings, int], Coroutine[Any, Any, None]]
"""The service itself, run until it is stopped. The number is how many files and sockets the process may open."""


def start_service(service: str, role: Role, main: Main, *, config: Path | None, guards: Sequence[Guard]) -> NoReturn:
    """Start a service, run it to its end, and leave the process with the exit status of that end.

    Args:
        service: The name in its logs.
        role: The settings that it uses.
        main: Awaited after all guards have passed.
        config: The TOML file that the command line names.
        guards: Called in this order, after the logs are configured.
    """

    async def start() -> None:
        settings = load(config, role)
        logging.configure(service=service, log_format=settings.telemetry.log_format, level=settings.telemetry.log_level)
        require_endpoints(os.environ)
        for guard in guards:
            guard(settings)
        await main(settings, lifecycle.raise_descriptor_limit())

    lifecycle.run(start)
