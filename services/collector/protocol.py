"""The HTTP protocol of one connection: aiohttp's, with problem answers where it cannot even parse a request."""

from http import HTTPStatus

import structlog
from aiohttp import web

from collector.problem import problem_response

log = structlog.stdlib.get_logger()


class ProblemProtocol(web.RequestHandler):
    """Answers malformed requests in the same form as every other error, and logs no traceback for them."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's quotes what was sent, which goes to nobody
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed (400), or whose handler failed (500), and close."""
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
