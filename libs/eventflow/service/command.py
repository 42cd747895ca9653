"""The start that all services share: settings, logs, guards, the limit of open files, and the exit status."""

import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import structlog
import typer

from eventflow.service import lifecycle
from eventflow.service.descriptors import raise_descriptor_limit
from eventflow.settings.environment import SERVICE_LINK_ADVICE, unlike_injected
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.telemetry import logging
from eventflow.telemetry.tracers import require_endpoints

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file with settings; environment variables override it."),
]

Guard = Callable[[Settings], None]
"""A check of several settings together, before the start. It raises SettingsError."""

Main = Callable[[Settings, int], Coroutine[Any, Any, None]]
"""The service itself, which runs until it is stopped. The number is the limit of open files and sockets."""

log = structlog.stdlib.get_logger()


def start_service(service: str, role: Role, main: Main, *, config: Path | None, guards: Sequence[Guard]) -> NoReturn:
    """Start a service, run it to its end, and exit with a status for the supervisor.

    Args:
        service: Name in the logs.
        role: Selects the settings that are read and checked.
        main: Awaited when all guards have passed.
        config: TOML file from the command line.
        guards: Called in this order, after the logs are configured.
    """

    async def start() -> None:
        settings = load(config, role)
        logging.configure(service=service, log_format=settings.telemetry.log_format, level=settings.telemetry.log_level)
        for name in unlike_injected(os.environ):
            log.warning("settings.variable_ignored", variable=name, advice=SERVICE_LINK_ADVICE)
        require_endpoints(os.environ)
        for guard in guards:
            guard(settings)
        await main(settings, raise_descriptor_limit())

    lifecycle.run(start)
