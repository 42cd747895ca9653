"""The admin port: /livez, /readyz and /metrics, separate from the port for events."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog
from aiohttp import web

from eventflow import __version__
from eventflow.errors import AddressInUseError, SettingsError
from eventflow.network.listener import listen, listen_on_first_free
from eventflow.service.listening import BACKLOG, serving
from eventflow.settings.addresses import admin_ports_from
from eventflow.telemetry.metrics import Expose

CONNECTIONS_MAX = 8
"""Enough for a scraper, probes and a few operators. The service itself needs the other descriptors."""

log = structlog.stdlib.get_logger()


class AdminSettings(Protocol):
    """The part of a service's section that is about the admin port."""

    @property
    def admin_host(self) -> str:
        """Address of the endpoints."""

    @property
    def admin_port(self) -> int:
        """Their port, which is the usual one of the service if it is not set."""

    @property
    def model_fields_set(self) -> set[str]:
        """The names of the settings that are set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether a service can work now, with details for an operator."""

    ready: bool
    details: Mapping[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def serve(
    section: AdminSettings,
    *,
    setting: str,
    readiness: Callable[[], Readiness],
    exposition: Expose,
    refresh: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[int]:
    """Serve the admin endpoints while the context is open. Yields the bound port.

    Args:
        section: Of the service. If it does not set the port, the next free one is as good.
        setting: The environment variable of the port, for the error message.
        readiness: Called for each /readyz: status 200 if ready, otherwise 503.
        exposition: Called for each /metrics, with the format that the request prefers.
        refresh: Awaited before each exposition.

    Raises:
        AddressUnavailableError: This host does not have the address.
        SettingsError: The address can never be bound, or the port is set and another process has it.
    """
    app = _application(readiness, exposition, refresh)
    bind = partial(_listener, section, setting)
    async with serving(app, bind, connections_max=CONNECTIONS_MAX, shutdown_s=1) as bound:
        yield bound


def _listener(section: AdminSettings, setting: str) -> socket.socket:
    host, port = section.admin_host, section.admin_port
    if "admin_port" not in section.model_fields_set:
        listener = listen_on_first_free(host, admin_ports_from(port), backlog=BACKLOG, setting=setting)
        if (moved_to := listener.getsockname()[1]) != port:
            log.info("admin.port_moved", usual_port=port, port=moved_to, setting=setting)
        return listener
    try:
        return listen(host, port, backlog=BACKLOG, setting=setting)
    except AddressInUseError as error:
        # The port was chosen for this service, so a scraper or a health check would ask the other process.
        raise SettingsError(f"{error}; without this setting the next free port is used") from error


def _application(
    readiness: Callable[[], Readiness], exposition: Expose, refresh: Callable[[], Awaitable[None]] | None
) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        state = readiness()
        body = {"ready": state.ready, "version": __version__, **state.details}
        return web.json_response(body, status=200 if state.ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        if refresh is not None:
            await refresh()
        # In a thread: collecting and encoding take milliseconds, in which the loop could not serve events.
        exposed = await asyncio.to_thread(exposition, request.headers.get("Accept", ""))
        return web.Response(body=exposed.body, headers={"Content-Type": exposed.content_type})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app
