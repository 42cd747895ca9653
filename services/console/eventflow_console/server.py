"""The console's listener: bounded connections and heads, and an orderly end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from typing_extensions import override

from eventflow.network.connection_limit import BoundedProtocol
from eventflow.network.listener import listen
from eventflow.service import listening
from eventflow_console.refusals import RequestRefusedError, problem_response
from eventflow_console.security.headers import harden

SETTING: Final = "EVENTFLOW_CONSOLE__PORT"
CONNECTIONS_MAX: Final = 256
"""A browser opens at most six connections, so this is enough for some dozen people."""

LINGER_S: Final = 1.0
"""Time for which the rest of a refused body is read and dropped, so that its sender gets the answer. It is short,
because the connection takes the place of another, and any client can cause this without a password."""

LINE_MAX_BYTES: Final = 8190
HEADERS_MAX: Final = 128
SHUTDOWN_S: Final = 2.0
"""Longest wait for answers in progress at the end. Streams end by themselves, because they watch `Desk.stopping`."""

log = structlog.stdlib.get_logger()


class ConsoleProtocol(BoundedProtocol):
    """aiohttp's protocol, which answers a malformed request as the console answers every other error."""

    __slots__ = ()

    refusal: ClassVar[bytes] = (
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
    )

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, and close. aiohttp's answer quotes the request."""
        log.info("request.malformed", address=request.remote, status=status, error=type(exc).__name__)
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        response = problem_response(_refusal_of(exc) if status == 400 else RequestRefusedError(status, "It failed."))
        harden(response.headers)  # no signal of the application is sent for it
        response.force_close()
        return response

    @override
    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log no traceback of a request that is not valid: `handle_error` logs a line."""
        if not isinstance(options.get("exc_info"), BadHttpMessage):
            super().log_exception(*args, **options)


@asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve the application while the context is open. Yields the bound port.

    Raises:
        AddressUnavailableError: Another process has the address, or this host does not have it.
        SettingsError: The address can never be bound.
    """
    async with listening.serving(
        app,
        partial(listen, host, port, backlog=listening.BACKLOG, setting=SETTING),
        connections_max=CONNECTIONS_MAX,
        shutdown_s=SHUTDOWN_S,
        handler_cancellation=True,  # so that the query of a client that leaves gives its place to another one
        protocol=ConsoleProtocol,
        lingering_time=LINGER_S,
        max_line_size=LINE_MAX_BYTES,
        max_field_size=LINE_MAX_BYTES,
        max_headers=HEADERS_MAX,
    ) as bound:
        yield bound


def _refusal_of(error: BaseException | None) -> RequestRefusedError:
    match error:
        case LineTooLong() | BadHttpMessage(message="Too many headers received"):
            return RequestRefusedError(
                431, f"A line may have {LINE_MAX_BYTES} bytes, and a request {HEADERS_MAX} lines."
            )
        case _:
            return RequestRefusedError(400, "The request is not valid HTTP/1.1.")
