"""One process that takes requests from a bound socket: the whole of the collector, or one worker of several."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from collector.app import create_app
from collector.budget import ByteBudget
from collector.metrics import CollectorMetrics
from collector.routes import Ingest, flow_intake
from eventflow import lifecycle
from eventflow.admin import Readiness
from eventflow.publisher import Publisher
from eventflow.settings import Settings
from eventflow.topology import ingest_specs

KEEP_ALIVE_S = 75
"""aiohttp's own default lets an idle connection live for an hour."""

BACKLOG = 1024


class Worker:
    """The wired parts of one collector process."""

    def __init__(self, settings: Settings) -> None:
        """Wire; nothing connects or listens yet."""
        flows = settings.all_flows
        self.metrics = CollectorMetrics(flows)
        self._publisher = Publisher(
            settings.broker.urls,
            specs=[spec for name in flows for spec in ingest_specs(name)],
            name=f"eventflow-collector@{socket.gethostname()}:{os.getpid()}",
        )
        self._ingest = Ingest(
            flows={
                name: flow_intake(
                    name,
                    api_keys=tuple(key.get_secret_value() for key in flow.source.api_keys),
                    max_body_bytes=flow.source.max_body_bytes,
                )
                for name, flow in flows.items()
            },
            publisher=self._publisher,
            budget=ByteBudget(settings.collector.max_in_flight_bytes),
            metrics=self.metrics,
            confirm_timeout_s=settings.collector.confirm_timeout_s,
            body_timeout_s=settings.collector.body_timeout_s,
        )
        self._drain_timeout_s = settings.collector.drain_timeout_s
        self._is_listening = False

    def readiness(self) -> Readiness:
        """Ready when it listens and a publish could be confirmed now."""
        state = self._publisher.state
        return Readiness(ready=self._is_listening and state == "up", details={"broker": state})

    async def run(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Take requests until the stop, then finish those in flight.

        Raises:
            TopologyMismatchError: A queue exists with other arguments.
        """
        publishing = asyncio.create_task(self._publisher.run())
        try:
            async with self._listening(listener):
                await lifecycle.until_stopped(stop, publishing)
        finally:
            # Last: requests in flight still need their confirms.
            await lifecycle.cancel_and_wait(publishing)

    @asynccontextmanager
    async def _listening(self, listener: socket.socket) -> AsyncIterator[None]:
        runner = web.AppRunner(
            create_app(self._ingest),
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            shutdown_timeout=self._drain_timeout_s,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            self._is_listening = True
            yield
        finally:
            self._is_listening = False
            await runner.cleanup()


async def announce(readiness: Callable[[], Readiness], tell: Callable[[Readiness], None], *, every_s: float) -> None:
    """Tell the readiness at once and again whenever it has changed. Never returns."""
    told: Readiness | None = None
    while True:
        current = readiness()
        if current != told:
            tell(current)
            told = current
        await asyncio.sleep(every_s)
