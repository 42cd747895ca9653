"""Serving an application of aiohttp on a socket: bounded connections, and an orderly end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiohttp import web

from eventflow.network.connection_limit import BoundedProtocol, ConnectionLimit

BACKLOG = 128
KEEP_ALIVE_S = 75


@asynccontextmanager
async def serving(
    app: web.Application,
    bind: Callable[[], socket.socket],
    *,
    connections_max: int,
    shutdown_s: float,
    handler_cancellation: bool = False,
    protocol: type[BoundedProtocol] = BoundedProtocol,
    **options: Any,
) -> AsyncIterator[int]:
    """Serve an application while the context is open. Yields the bound port.

    Args:
        bind: Returns a listening socket, for example by `listen`; its errors are those of this function.
        connections_max: Connections at a time.
        shutdown_s: Longest wait at the end for answers in progress.
        handler_cancellation: Whether a handler is cancelled if its client leaves.
        options: Passed on to the protocol.
    """
    runner = web.AppRunner(app, shutdown_timeout=shutdown_s, handler_cancellation=handler_cancellation)
    await runner.setup()
    loop = asyncio.get_running_loop()
    assert runner.server is not None  # noqa: S101 - for the type checker: setup() has made it
    connected = partial(
        protocol,
        runner.server,
        connections=ConnectionLimit(connections_max),
        loop=loop,
        keepalive_timeout=KEEP_ALIVE_S,
        access_log=None,
        **options,
    )
    try:
        server = await loop.create_server(connected, sock=bind(), backlog=BACKLOG)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()
