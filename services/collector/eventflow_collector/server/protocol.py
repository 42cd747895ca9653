"""The HTTP protocol of one connection: aiohttp's, with problem answers where it cannot even parse a request."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.web_protocol import _ErrInfo

from eventflow.network.connection_limit import BoundedProtocol
from eventflow_collector.problem import problem_response, written_problem

log = structlog.stdlib.get_logger()


class EndOfRequestsError(ConnectionError):
    """The sender has shut its writing side, and all of its requests are answered."""


class ProblemProtocol(BoundedProtocol):
    """Answers malformed requests in the same form as every other error, and logs no traceback for them.

    A sender may shut its writing side behind its requests (`shutdown(SHUT_WR)`, `nc -N`): each of them is answered,
    then the connection is closed.
    """

    __slots__ = ("_on_crash",)

    refusal: ClassVar[bytes] = written_problem(503, "Too many connections are open.")

    def __init__(self, manager: web.Server, *, on_crash: Callable[[BaseException], None], **options: Any) -> None:
        """Prepare for one connection.

        Args:
            on_crash: Called with each error of a handler that nothing expects.
        """
        super().__init__(manager, **options)
        self._on_crash = on_crash

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's returns nothing: close at once
        """Keep the connection open for the answers if there is any to give. A torn request gets none."""
        if self.idle_since_s is not None:
            return False  # nothing was asked for, or not in full; the descriptor must not be held for it
        if not self._messages:
            self._loop.call_soon(self._end)  # by then a request that was just taken up is known as the current one
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
            self.force_close()  # which ends whatever waits for the body

    def _close_when_answered(self) -> None:
        # Queued behind the requests, so that aiohttp reaches it when each of them is answered.
        self._messages.append((_ErrInfo(status=400, exc=EndOfRequestsError(), message=""), EMPTY_PAYLOAD))

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log an error of aiohttp's, except one that it makes itself at shutdown.

        If a request ends in the very tick in which the time for it is up, aiohttp sets the result of a future that it
        has just cancelled. The answer is written by then.
        """
        if not (self._force_close and isinstance(options.get("exc_info"), asyncio.InvalidStateError)):
            super().log_exception(*args, **options)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's quotes what was sent, which goes to nobody
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed (400), or whose handler failed (500), and close."""
        if isinstance(exc, EndOfRequestsError):
            raise exc  # aiohttp closes the connection on it, and answers nothing
        if status >= 500:
            self._on_crash(exc or TimeoutError("the handler timed out"))
        else:
            log.info("request.malformed", remote=request.remote, status=status, error=type(exc).__name__)
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        detail = "The request is not valid HTTP/1.1." if status == 400 else HTTPStatus(status).description
        response = problem_response(status, detail)
        response.force_close()
        return response
