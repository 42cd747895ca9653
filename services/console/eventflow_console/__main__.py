"""`eventflow-console`: wires the console together and runs it until a signal."""

from eventflow.service.entry import begin, imported

begin()

import asyncio
import os
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

import structlog

from eventflow.history.opening import open_history, shown_url
from eventflow.network.broker_tls import require_sound_urls
from eventflow.service import admin, lifecycle
from eventflow.service.command import ConfigOption, start_service
from eventflow.service.program import run_program, version_option
from eventflow.service.supervision import supervised
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.metrics import exposition_of
from eventflow_console.app import application
from eventflow_console.auth.selection import authenticator_of
from eventflow_console.desk import Desk
from eventflow_console.guards import require_safe_access
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.readiness import readiness_of
from eventflow_console.server import serving

imported()

SERVICE = "eventflow-console"

log = structlog.stdlib.get_logger()


async def serve(settings: Settings) -> None:
    """Run the console until SIGTERM or SIGINT.

    Raises:
        EventFlowError: It cannot continue.
    """
    require_sound_urls(settings.broker.urls)
    stop = lifecycle.stop_requested()
    metrics = ConsoleMetrics()
    async with AsyncExitStack() as stack:
        store = None if settings.history.url is None else open_history(settings.history.url.get_secret_value())
        if store is not None:
            stack.push_async_callback(store.close)
        desk = Desk.of(settings, store=store, metrics=metrics, stopping=stop)
        port = await stack.enter_async_context(
            serving(
                application(desk, authenticator_of(settings.console, metrics), metrics),
                host=settings.console.host,
                port=settings.console.port,
            )
        )
        admin_port = await stack.enter_async_context(
            admin.serve(
                settings.console,
                setting="EVENTFLOW_CONSOLE__ADMIN_PORT",
                readiness=partial(readiness_of, desk),
                exposition=exposition_of(metrics.registry),
            )
        )
        log.info(
            "console.started",
            host=settings.console.host,
            port=port,
            admin_port=admin_port,
            auth=settings.console.auth,
            read_only=settings.console.read_only,
            history=None if settings.history.url is None else shown_url(settings.history.url.get_secret_value()),
            pid=os.getpid(),
        )
        await stack.enter_async_context(supervised())
        duties = [asyncio.create_task(duty) for duty in desk.duties()]
        stack.push_async_callback(cancel_and_wait, *duties)
        stack.push_async_callback(desk.jobs.close)
        await lifecycle.until_stopped(stop, *duties)
    log.info("console.stopped")


def command(config: ConfigOption = None, _version: Annotated[bool, version_option(SERVICE)] = False) -> None:
    """Serve pages and a JSON API, on which operators see every flow and event, and act."""

    async def run(settings: Settings, _: int) -> None:
        await serve(settings)

    start_service(SERVICE, Role.CONSOLE, run, config=config, guards=[require_safe_access])


def main() -> None:
    """Entry point of `eventflow-console`."""
    run_program(command)


if __name__ == "__main__":
    main()
