"""The listener for operators: /livez, /readyz and /metrics, apart from where events come in."""

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
"""Enough for a scraper, probes and a few operators. The descriptors are taken from those of the service's own work."""

KEEP_ALIVE_S = 75
BACKLOG = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether a service can do its work now, and what an operator should know about it."""

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
    """Serve the admin endpoints while the context is open; yields the bound port.

    Args:
        setting: The environment variable that chose the port, for the error.
        readiness: Asked at each /readyz: 200 when ready, else 503.
        exposition: Asked at each /metrics, in the format that the request prefers.
        refresh: Awaited before that.

    Raises:
        AddressUnavailableError: The address is in use, or is not there.
        SettingsError: It can never be bound.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        state = readiness()
        return web.json_response({"ready": state.ready, **state.details}, status=200 if state.ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        if refresh is not None:
            await refresh()
        # Collecting and encoding take milliseconds: off the loop that serves events.
        exposed = await asyncio.to_thread(exposition, request.headers.get("Accept", ""))
        return web.Response(body=exposed.body, headers={"Content-Type": exposed.content_type})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    loop = asyncio.get_running_loop()
    assert runner.server is not None  # noqa: S101 - for the type checker: it was set up
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
