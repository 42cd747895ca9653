"""`eventflow-collector`: builds the collector and runs it until a signal."""

from eventflow.service.entry import begin, imported

begin()

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Annotated

import structlog
import typer

from eventflow.network.broker_tls import require_sound_urls
from eventflow.network.listener import listen
from eventflow.service import admin, lifecycle
from eventflow.service.command import ConfigOption, start_service
from eventflow.service.program import run_program, version_option
from eventflow.service.supervision import supervised
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.telemetry.metrics import WorkersMetrics, exposition_of, exposition_of_workers
from eventflow.telemetry.tracers import tracer_for
from eventflow_collector.guards import require_safe_exposure
from eventflow_collector.metrics import LARGEST
from eventflow_collector.server.supervisor import Supervisor, run_as_worker
from eventflow_collector.server.worker import BACKLOG, Worker

imported()

SERVICE = "eventflow-collector"
ADMIN_PORT_SETTING = "EVENTFLOW_COLLECTOR__ADMIN_PORT"

log = structlog.stdlib.get_logger()


async def serve(settings: Settings, config: Path | None, *, descriptors: int) -> None:
    """Run the collector until SIGTERM or SIGINT, in this process or in workers.

    Raises:
        EventFlowError: It cannot continue.
    """
    # Not in a worker: one that starts later may find a certificate that is just being replaced.
    require_sound_urls(settings.broker.urls)
    stop = lifecycle.delayed_stop(delay_s=settings.collector.shutdown_delay_s)
    listener = listen(
        settings.collector.host, settings.collector.port, backlog=BACKLOG, setting="EVENTFLOW_COLLECTOR__PORT"
    )
    with closing(listener):
        log.info(
            "collector.started",
            port=listener.getsockname()[1],
            workers=settings.collector.workers,
            pid=os.getpid(),
        )
        if settings.collector.workers == 1:
            worker = Worker(settings, tracer_for(SERVICE), stop, descriptors=descriptors)
            administered = admin.serve(
                settings.collector,
                setting=ADMIN_PORT_SETTING,
                readiness=worker.readiness,
                exposition=exposition_of(worker.metrics.registry),
            )
            async with administered, supervised():
                await worker.run(listener)
        else:
            await supervise(settings, config, listener, stop)
    log.info("collector.stopped")


async def supervise(settings: Settings, config: Path | None, listener: socket.socket, stop: lifecycle.Stop) -> None:
    """Run workers, and serve the admin endpoints for all of them."""
    metrics = WorkersMetrics(largest=LARGEST)
    supervisor = Supervisor(
        workers=settings.collector.workers,
        listener=listener,
        metrics=metrics,
        config=config,
        stop_within_s=settings.collector.stop_within_s,
    )
    administered = admin.serve(
        settings.collector,
        setting=ADMIN_PORT_SETTING,
        readiness=supervisor.readiness,
        exposition=exposition_of_workers(metrics),
        refresh=supervisor.refresh_metrics,
    )
    async with administered, supervised():
        await supervisor.run(stop)


def command(
    config: ConfigOption = None,
    _version: Annotated[bool, version_option(SERVICE)] = False,
    listen_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    link_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    parent_pid: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Accept events over HTTP, and answer 202 after they are stored durably."""

    async def run(settings: Settings, descriptors: int) -> None:
        if listen_fd is None or link_fd is None or parent_pid is None:
            await serve(settings, config, descriptors=descriptors)
            return
        listener, link = socket.socket(fileno=listen_fd), socket.socket(fileno=link_fd)
        stop = lifecycle.delayed_stop(delay_s=settings.collector.shutdown_delay_s, takes_hurry=False)
        worker = Worker(settings, tracer_for(SERVICE), stop, descriptors=descriptors)
        await run_as_worker(worker, listener, link, stop, parent_pid=parent_pid)

    start_service(SERVICE, Role.COLLECTOR, run, config=config, guards=[require_safe_exposure])


def main() -> None:
    """Entry point of `eventflow-collector`."""
    run_program(command)


if __name__ == "__main__":
    main()
