"""The console's listener: bounded connections and heads, and an orderly end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from aiohttp import web

from eventflow.network.connection_limit import BoundedProtocol, ConnectionLimit
from eventflow.network.listener import listen

SETTING: Final = "EVENTFLOW_CONSOLE__PORT"
CONNECTIONS_MAX: Final = 256
"""A browser opens at most six connections, so this is enough for some dozen people."""

KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 128
HEAD_LINE_MAX_BYTES: Final = 8190
SHUTDOWN_S: Final = 2.0
"""Longest wait for answers in progress at the end. Streams end by themselves, because they watch `Desk.stopping`."""


@asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve the application while the context is open. Yields the bound port.

    Raises:
        AddressUnavailableError: Another process has the address, or this host does not have it.
        SettingsError: The address can never be bound.
    """
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S, handler_cancellation=True)
    await runner.setup()
    loop = asyncio.get_running_loop()
    assert runner.server is not None  # noqa: S101 - for the type checker: setup() has made it
    protocol = partial(
        BoundedProtocol,
        runner.server,
        connections=ConnectionLimit(CONNECTIONS_MAX),
        loop=loop,
        keepalive_timeout=KEEP_ALIVE_S,
        max_line_size=HEAD_LINE_MAX_BYTES,
        max_field_size=HEAD_LINE_MAX_BYTES,
        access_log=None,
    )
    try:
        server = await loop.create_server(
            protocol, sock=listen(host, port, backlog=BACKLOG, setting=SETTING), backlog=BACKLOG
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()
