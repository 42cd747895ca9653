"""One process that accepts requests on a bound socket: the whole collector, or one worker of several."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NoReturn

import structlog
from aiohttp import web

from eventflow.amqp.presence import Presence
from eventflow.amqp.publisher import Publisher
from eventflow.clock import lease_clock
from eventflow.control.reporter import Reporter
from eventflow.control.reports import CollectorReport
from eventflow.network.connection_limit import ConnectionLimit
from eventflow.service import lifecycle
from eventflow.service.admin import Readiness
from eventflow.service.instance import name_instance
from eventflow.settings.root import Settings
from eventflow.settings.source import SourceSettings
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.metrics import count_of
from eventflow.telemetry.tracing import Tracer
from eventflow.topology import ingest_specs
from eventflow_collector.dedup.window import Window
from eventflow_collector.dedup.writer import DedupWriter
from eventflow_collector.durable import DurableWriter
from eventflow_collector.fetch import Fetcher
from eventflow_collector.ingest import REPORT_EVERY_S, Ingest
from eventflow_collector.intake.budget import ByteBudget
from eventflow_collector.intake.flow import flow_of
from eventflow_collector.metrics import CollectorMetrics
from eventflow_collector.senders.certificates import Certificates
from eventflow_collector.server.certificates import CertificateFetcher
from eventflow_collector.server.closing import Closing
from eventflow_collector.server.connection import Connection, Shared
from eventflow_collector.server.handler import request_handler
from eventflow_collector.server.protocol import ProblemProtocol
from eventflow_collector.server.visits import Visitor
from eventflow_collector.spool.directory import SpoolDirectory
from eventflow_collector.spool.spool import Spool
from eventflow_collector.tracing import RequestTraces

LINGER_S = 1.0
"""Time for which the rest of a refused body is read and dropped, so that its sender gets the answer. It is short,
because the connection takes the place of another, and any client can cause this without a key."""

BACKLOG = 1024

DURABLE_POLL_S = 0.01
"""Interval at which a worker that starts checks whether it could make an event durable."""

CONNECTIONS_MAX = 10_000
"""The default. An idle connection takes about 10 KiB."""

DESCRIPTORS_KEPT_MIN = 40
DESCRIPTORS_KEPT_SHARE = 1 / 8
"""File descriptors that are kept free of connections: for about 20 files and sockets that are always open, admin's
connections, the broker's next connection, the spool's own and adopted files, the resolver, and the export of traces."""

log = structlog.stdlib.get_logger()


def connections_max(setting: int | None, *, descriptors: int) -> int:
    """Return the number of connections that a worker may keep open under a limit of open files."""
    kept = max(DESCRIPTORS_KEPT_MIN, int(descriptors * DESCRIPTORS_KEPT_SHARE))
    return max(1, min(setting or CONNECTIONS_MAX, descriptors - kept))


class Worker:
    """The wired parts of one collector process."""

    def __init__(self, settings: Settings, tracer: Tracer, stop: lifecycle.Stop, *, descriptors: int) -> None:
        """Build the parts; nothing connects or listens yet.

        Args:
            settings: Of the collector and all flows.
            tracer: Closed at the end of `run`.
            stop: Ends `run`.
            descriptors: Files and sockets that this process may have open.
        """
        flows = settings.open_flows
        self._settings = settings.collector
        self._tracer = tracer
        self._stop = stop
        self.metrics = CollectorMetrics(flows)
        instance = name_instance("eventflow-collector")
        self._publisher = Publisher(
            settings.broker.urls,
            specs=[spec for name in flows for spec in ingest_specs(name)],
            name=instance,
            presence=Presence(self._note_vanished),
        )
        self._spool = self._make_spool(settings)
        self._budget = ByteBudget(settings.collector.max_in_flight_bytes)
        fetcher, certificates = Fetcher(), Certificates()
        self._visitor = Visitor(fetcher, self.metrics.internal_errors)
        self._certificates = CertificateFetcher(fetcher, certificates, self.metrics.internal_errors)
        writer = DurableWriter(
            publisher=self._publisher,
            spool=self._spool,
            metrics=self.metrics,
            confirm_timeout_s=settings.collector.confirm_timeout_s,
        )
        self._dedup_writers = self._make_dedup_writers(settings, writer)
        self._ingest = Ingest(
            flows={name: flow_of(name, settings, certificates) for name in flows},
            writers={**dict.fromkeys(flows, writer), **self._dedup_writers},
            budget=self._budget,
            metrics=self.metrics,
            traces=RequestTraces(tracer, on_error=self.metrics.internal_errors.note),
            visits=self._visitor,
            certificates=self._certificates,
        )
        self._status = Reporter(
            settings.broker.urls,
            flows=flows,
            instance=instance,
            report=self.report,
            on_error=self.metrics.internal_errors.note,
        )
        limit = connections_max(settings.collector.max_connections, descriptors=descriptors)
        self._connections = ConnectionLimit(limit)
        self.metrics.connections_max.set(limit)
        self._closing = Closing()
        self._is_listening = False
        self._started_s = time.monotonic()

    def readiness(self) -> Readiness:
        """Return whether it listens and could make an event durable now: by a publish, or for a while in the spool.

        A worker that will stop is not ready, although it accepts events until the stop is due.
        """
        is_stopping = self._stop.requested.is_set()
        ready = self._is_listening and self._can_make_durable and not is_stopping
        details: dict[str, bool | str | int] = {"stopping": is_stopping, "broker": self._publisher.state}
        if self._spool is not None:
            spool = self._spool.state
            details |= {"spool": spool, "spooling": spool == "spooling"}
            if is_stopping:
                details["spool_events"] = self._spool.report().events
        return Readiness(ready=ready, details=details)

    def report(self, flow: str) -> CollectorReport:
        """Return the present state with the count of a flow, for `eventflow status` and the console."""
        return CollectorReport(
            is_ready=self.readiness().ready,
            broker=self._publisher.state,
            spool=None if self._spool is None else self._spool.report(),
            accepted_total=int(count_of(self.metrics.flows[flow].accepted)),
            uptime_s=round(time.monotonic() - self._started_s, 3),
        )

    async def run(self, listener: socket.socket) -> None:
        """Accept requests until the stop is due, then finish those in flight.

        Raises:
            TopologyMismatchError: A queue exists with other arguments.
            SettingsError: The spool's directory cannot be used until a person changes it.
        """
        async with self._spooling() as spooling:
            publishing = asyncio.create_task(self._publisher.run())
            reporting = [
                asyncio.create_task(self._ingest.report_in_flight()),
                asyncio.create_task(self._report_connections()),
                asyncio.create_task(self._tidy_dedup_windows()),
                asyncio.create_task(self._status.run()),
            ]
            try:
                await self._until_durable(publishing, *reporting, *spooling)
                if not self._stop.requested.is_set():
                    async with self._listening(listener), self._closing_connections():
                        await lifecycle.until_stopped(self._stop.due, publishing, *reporting, *spooling)
                await self._drain_spool(publishing, *spooling)
            finally:
                await self._visitor.close()
                await self._certificates.close()
                await cancel_and_wait(*spooling)
                if self._spool is not None:
                    await self._spool.until_resolved(within_s=self._settings.confirm_timeout_s)
                # Last: requests in flight, and events that are sent from the spool, still need their confirms.
                await cancel_and_wait(publishing, *reporting)
                await self._tracer.close()

    @property
    def _can_make_durable(self) -> bool:
        broker = self._publisher.state
        if self._spool is None:
            return broker == "up"
        # The spool bridges an outage, which ends by itself; a missing right (`refused`) needs a person.
        return broker != "refused" and (self._spool.state not in {"full", "stuck"} or not self._spool.is_preferred)

    async def _until_durable(self, *services: asyncio.Task[None]) -> None:
        """Wait until an event could be made durable, but not beyond a stop and the time that a confirm may take.

        The kernel gives a new connection to any worker that accepts. So a worker that accepted before its session with
        the broker exists would answer 503 although another one, or itself a moment later, could accept the event. The
        connection waits in the kernel meanwhile. Without a broker the wait has an end, so that a sender gets an answer.
        """

        async def poll() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.confirm_timeout_s):
                    while not self._can_make_durable:  # noqa: ASYNC110 - an alarm that ends sets no event
                        await asyncio.sleep(DURABLE_POLL_S)

        polling = asyncio.create_task(poll())
        try:
            await lifecycle.until_stopped(self._stop.requested, polling, *services)
        finally:
            await cancel_and_wait(polling)

    async def _drain_spool(self, *services: asyncio.Task[None]) -> None:
        """Send the events in the spool after the last request, within their time, and until the stop is hurried."""
        if self._spool is None:
            return
        draining = asyncio.create_task(self._spool.drain(within_s=self._settings.spool_drain_timeout_s))
        try:
            await lifecycle.until_stopped(self._stop.hurried, draining, *services)
        finally:
            await cancel_and_wait(draining)

    async def _report_connections(self) -> NoReturn:
        """Update the metrics of connections every second, and log if there was no room for a connection."""
        closed_idle = refused = 0
        while True:
            connections = self._connections
            self.metrics.connections.set(len(connections))
            if (connections.closed_idle, connections.refused) != (closed_idle, refused):
                self.metrics.connections_closed_idle.inc(connections.closed_idle - closed_idle)
                self.metrics.connections_refused.inc(connections.refused - refused)
                log.warning(
                    "connections.exhausted",
                    open=len(connections),
                    closed_idle=connections.closed_idle - closed_idle,
                    refused=connections.refused - refused,
                )
                closed_idle, refused = connections.closed_idle, connections.refused
            await asyncio.sleep(REPORT_EVERY_S)

    async def _tidy_dedup_windows(self) -> NoReturn:
        """Release the memory of expired ids every second: all at once, they would hold up the event loop."""
        while True:
            for writer in self._dedup_writers.values():
                writer.tidy()
            await asyncio.sleep(REPORT_EVERY_S)

    def _note_vanished(self, flow: str) -> None:
        self.metrics.count_vanished(flow)
        if flow in self._dedup_writers:
            self._dedup_writers[flow].forget_stored()

    def _make_dedup_writers(self, settings: Settings, writer: DurableWriter) -> dict[str, DedupWriter]:
        """Build a writer in front of `writer` for each flow that has a dedup window."""
        sources = {name: flow.source for name, flow in settings.open_flows.items()}
        return {
            name: self._make_dedup_writer(name, source, writer) for name, source in sources.items() if source.dedup_s
        }

    def _make_dedup_writer(self, flow: str, source: SourceSettings, writer: DurableWriter) -> DedupWriter:
        metrics = self.metrics.flows[flow]
        window = Window(
            length_s=source.dedup_s,
            max_ids=source.dedup_max_ids,
            clock=lease_clock,
            on_evicted=metrics.dedup_ids_evicted.inc,
        )
        return DedupWriter(writer, window=window, metrics=metrics, internal_errors=self.metrics.internal_errors)

    def _make_spool(self, settings: Settings) -> Spool | None:
        collector = settings.collector
        if collector.spool_dir is None:
            return None
        return Spool(
            SpoolDirectory(collector.spool_dir, max_bytes=collector.spool_max_bytes),
            publisher=self._publisher,
            metrics=self.metrics,
            tracer=self._tracer,
            confirm_timeout_s=collector.confirm_timeout_s,
        )

    @asynccontextmanager
    async def _spooling(self) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Keep the spool open if there is one; yield the task that runs it."""
        if self._spool is None:
            yield []
            return
        await self._spool.open()
        try:
            yield [asyncio.create_task(self._spool.run())]
        finally:
            await self._spool.close()

    @asynccontextmanager
    async def _closing_connections(self) -> AsyncIterator[None]:
        """Let answers close their connections from the middle of the shutdown delay, and at the latest from the end."""

        async def prepare() -> None:
            await self._stop.requested.wait()
            log.info("collector.stopping", delay_s=self._settings.shutdown_delay_s)
            # In the first half of the delay, load balancers notice that the collector is not ready. If a connection
            # closed so early, the client might connect to this collector again.
            await asyncio.sleep(self._settings.shutdown_delay_s / 2)
            self._closing.has_begun = True

        preparing = asyncio.create_task(prepare())
        try:
            yield
        finally:
            self._closing.has_begun = True
            await cancel_and_wait(preparing)

    @asynccontextmanager
    async def _listening(self, listener: socket.socket) -> AsyncIterator[None]:
        settings = self._settings
        http = web.Server(request_handler(self._ingest, body_timeout_s=settings.body_timeout_s, closing=self._closing))
        runner = web.ServerRunner(http, shutdown_timeout=settings.drain_timeout_s)
        await runner.setup()
        loop = asyncio.get_running_loop()
        to_aiohttp = partial(
            ProblemProtocol,
            http,
            connections=self._connections,
            on_crash=self._note_crash,
            loop=loop,
            keepalive_timeout=settings.keep_alive_s,
            lingering_time=LINGER_S,
            auto_decompress=False,  # a body is passed on as it was sent
            access_log=None,  # turns it off
        )
        shared = Shared(
            self._ingest,
            budget=self._budget,
            limit=self._connections,
            closing=self._closing,
            to_aiohttp=to_aiohttp,
            on_crash=self._note_crash,
        )
        # With `to_aiohttp` in its place, aiohttp alone serves all requests, with the same answers (ADR 29).
        server = await loop.create_server(partial(Connection, shared), sock=listener, backlog=BACKLOG)
        watching = asyncio.create_task(shared.watch(idle_max_s=settings.keep_alive_s))
        self._is_listening = True
        try:
            yield
        finally:
            self._is_listening = False
            server.close()
            await asyncio.gather(shared.close(within_s=settings.drain_timeout_s), runner.cleanup())
            await cancel_and_wait(watching)

    def _note_crash(self, error: BaseException) -> None:
        self.metrics.internal_errors.note(error, event="request.crashed")


async def report_changes(
    readiness: Callable[[], Readiness], report: Callable[[Readiness], None], *, every_s: float
) -> NoReturn:
    """Report the readiness at once, and again after each change."""
    reported: Readiness | None = None
    while True:
        current = readiness()
        if current != reported:
            report(current)
            reported = current
        await asyncio.sleep(every_s)
