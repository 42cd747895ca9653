"""The HTTP protocol of one connection: aiohttp's, with problem answers where it cannot even parse a request."""

from http import HTTPStatus
from typing import ClassVar

import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.web_protocol import _ErrInfo

from collector.problem import problem_response, written_problem
from eventflow.connections import BoundedProtocol

log = structlog.stdlib.get_logger()


class EndOfRequestsError(ConnectionError):
    """The sender has shut its writing side, and all of its requests are answered."""


class ProblemProtocol(BoundedProtocol):
    """Answers malformed requests in the same form as every other error, and logs no traceback for them.

    A sender may shut its writing side behind its requests (`shutdown(SHUT_WR)`, `nc -N`): each of them is answered,
    then the connection is closed.
    """

    __slots__ = ()

    refusal: ClassVar[bytes] = written_problem(503, "Too many connections are open.")

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's returns nothing: close at once
        """Keep the connection open for the answers if there is any to give."""
        if self.idle_since_s is not None:
            return False  # nothing was asked for, or not in full; the descriptor must not be held for it
        if self._messages:
            self._end_behind(self._messages[-1][1])
        else:
            self._loop.call_soon(self._end)  # by then a request that was just taken up is known as the current one
        return True

    def _end(self) -> None:
        if self._current_request is not None:
            self._end_behind(self._current_request.content)
        elif self._request_in_progress:
            self._end_behind(EMPTY_PAYLOAD)  # its answer is being written
        else:
            self.force_close()  # all is answered; the rest of a refused body will not come

    def _end_behind(self, payload: StreamReader) -> None:
        """Close once all requests are answered, of which the last one has this body."""
        if not payload.is_eof():
            payload.set_exception(web.RequestPayloadError("the body ends before its time"))
            payload.feed_eof()  # else aiohttp waits for the rest of it after the answer
        # Queued behind the requests, so that aiohttp reaches it when each of them is answered.
        self._messages.append((_ErrInfo(status=400, exc=EndOfRequestsError(), message=""), EMPTY_PAYLOAD))

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
            log.error("request.crashed", remote=request.remote, exc_info=exc)
        else:
            log.info("request.malformed", remote=request.remote, status=status, error=type(exc).__name__)
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        detail = "The request is not valid HTTP/1.1." if status == 400 else HTTPStatus(status).description
        response = problem_response(status, detail)
        response.force_close()
        return response
