"""The HTTP protocol of one connection: aiohttp's, with problem details as the answer to a request that is not valid."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from aiohttp import EMPTY_PAYLOAD, ClientConnectionResetError, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import _ErrInfo

from eventflow.network.connection_limit import BoundedProtocol
from eventflow_collector.responses import problem, written_final
from eventflow_collector.server.writing import aiohttp_response

LINE_MAX_BYTES = 8190
FIELD_MAX_BYTES = 8192
"""Of the name and value of a header. It differs from the limit of the first line, because aiohttp's error shows only
the limit that was exceeded."""

HEADERS_MAX = 128

log = structlog.stdlib.get_logger()


class EndOfRequestsError(ConnectionError):
    """The sender has shut its writing side, and all of its requests are answered."""


class ProblemProtocol(BoundedProtocol):
    """Answers malformed requests in the same form as every other error, and logs no traceback for them.

    A sender may shut its writing side after its requests (`shutdown(SHUT_WR)`, `nc -N`): each of them is answered,
    then the connection is closed.
    """

    __slots__ = ("_on_crash",)

    refusal: ClassVar[bytes] = written_final(problem(503, "Too many connections are open."))

    def __init__(self, manager: web.Server, *, on_crash: Callable[[BaseException], None], **options: Any) -> None:
        """Serve one connection.

        Args:
            manager: aiohttp's server.
            on_crash: Called with each unexpected error of a handler.
            options: aiohttp's own.
        """
        super().__init__(
            manager,
            max_line_size=LINE_MAX_BYTES,
            max_field_size=FIELD_MAX_BYTES,
            max_headers=HEADERS_MAX,
            **options,
        )
        self._on_crash = on_crash

    @property
    def has_next_request(self) -> bool:
        """Whether another request of this connection waits behind the one that is served."""
        return bool(self._messages)

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's returns nothing: close at once
        """Keep the connection open if an answer is still due. An incomplete request gets none."""
        if self.idle_since_s is not None:
            return False  # without a whole request, an idle connection must not keep its descriptor
        if not self._messages:
            # Only in the next tick: by then, a request that aiohttp has just begun to serve is `_current_request`.
            self._loop.call_soon(self._end)
            return True
        if not self._messages[-1][1].is_eof():
            self._messages.pop()  # the rest of its body will not come
        self._close_when_answered()
        return True

    def _end(self) -> None:
        current = self._current_request
        is_whole = self._request_in_progress if current is None else current.content.is_eof()
        if is_whole:
            self._close_when_answered()
        else:
            self.force_close()  # ends what waits for the rest of the body

    def _close_when_answered(self) -> None:
        # Queued after the requests, so that aiohttp handles it after the answer to each of them.
        self._messages.append((_ErrInfo(status=400, exc=EndOfRequestsError(), message=""), EMPTY_PAYLOAD))

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log an error of aiohttp's, except one that it causes itself at shutdown.

        If a request ends in the same tick as the time that shutdown allows it, aiohttp sets the result of a future that
        it has just cancelled. The answer is written by then.
        """
        if not (self._force_close and isinstance(options.get("exc_info"), asyncio.InvalidStateError)):
            super().log_exception(*args, **options)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's quotes the request, which is not sent back
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed (400), or after an error of its handler (500), and close."""
        # aiohttp closes the connection on either, without an answer. The second is raised by a write to a peer that has
        # just gone, such as `100 Continue`, so it is no error of a handler.
        if isinstance(exc, EndOfRequestsError | ClientConnectionResetError):
            raise exc
        if status >= 500:
            self._on_crash(exc or TimeoutError("the handler timed out"))
        else:
            log.info("request.malformed", remote=request.remote, status=status, error=type(exc).__name__)
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        status, detail = _refusal_of(exc) if status == 400 else (status, HTTPStatus(status).description)
        return aiohttp_response(problem(status, detail, closes=True))


def _refusal_of(error: BaseException | None) -> tuple[int, str]:
    """Return status and detail of the answer to a request that aiohttp could not parse."""
    match error:
        case LineTooLong(args=(_, limit, *_)) if limit == FIELD_MAX_BYTES:
            return 431, f"A header may have at most {FIELD_MAX_BYTES} bytes."
        case LineTooLong():
            return 414, f"The target may have at most {LINE_MAX_BYTES} bytes."
        case BadHttpMessage(message="Too many headers received"):
            return 431, f"A request may have at most {HEADERS_MAX} headers."
        case _:
            return 400, "The request is not valid HTTP/1.1."
