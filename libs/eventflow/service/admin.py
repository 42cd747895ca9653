"""The admin port: /livez, /readyz and /metrics, separate from the port for events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from eventflow.network.connection_limit import BoundedProtocol, ConnectionLimit
from eventflow.network.listener import listen
from eventflow.telemetry.metrics import Expose

CONNECTIONS_MAX = 8
"""Enough for a scraper, probes and a few operators. The service itself needs the other descriptors."""

KEEP_ALIVE_S = 75
BACKLOG = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether a service can work now, with details for an operator."""

    ready: bool
    details: Mapping[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def serve(
    *,
    host: str,
    port: int,
    setting: str,
    readiness: Callable[[], Readiness],
    exposition: Expose,
    refresh: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[int]:
    """Serve the admin endpoints while the context is open. Yields the bound port.

    Args:
        setting: The environment variable of the port, for the error message.
        readiness: Called for each /readyz: status 200 if ready, otherwise 503.
        exposition: Called for each /metrics, with the format that the request prefers.
        refresh: Awaited before each exposition.

    Raises:
        AddressUnavailableError: The address is in use, or this host does not have it.
        SettingsError: The address can never be bound.
    """
    app = _application(readiness, exposition, refresh)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    loop = asyncio.get_running_loop()
    assert runner.server is not None  # noqa: S101 - for the type checker: setup() has made it
    protocol = partial(
        BoundedProtocol,
        runner.server,
        connections=ConnectionLimit(CONNECTIONS_MAX),
        loop=loop,
        keepalive_timeout=KEEP_ALIVE_S,
        access_log=None,
    )
    try:
        listener = listen(host, port, backlog=BACKLOG, setting=setting)
        server = await loop.create_server(protocol, sock=listener, backlog=BACKLOG)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _application(
    readiness: Callable[[], Readiness], exposition: Expose, refresh: Callable[[], Awaitable[None]] | None
) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        state = readiness()
        return web.json_response({"ready": state.ready, **state.details}, status=200 if state.ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        if refresh is not None:
            await refresh()
        # In a thread: collecting and encoding take milliseconds, in which the loop could not serve events.
        exposed = await asyncio.to_thread(exposition, request.headers.get("Accept", ""))
        return web.Response(body=exposed.body, headers={"Content-Type": exposed.content_type})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app
