"""Answers as aiohttp writes them."""

import time

from aiohttp import HttpVersion11, web
from typing_extensions import override

from eventflow_collector.responses import Response, written_accepted


def response_to(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Return the answer to a request in aiohttp's form."""
    if response.is_acceptance and not response.closes and request.version == HttpVersion11 and request.keep_alive:
        return _Accepted(response)
    return aiohttp_response(response)


def aiohttp_response(response: Response) -> web.Response:
    """Return an answer that aiohttp writes itself."""
    answer = web.Response(status=response.status, body=response.body, headers=response.headers)
    if response.closes:
        answer.force_close()
    return answer


class _Accepted(web.StreamResponse):
    """An acceptance on a connection that is kept open, written in one piece, because aiohttp takes longer to build it.

    No header is needed to keep the connection open, because this is the default of HTTP/1.1.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(status=response.status)
        self._response = response

    @property
    @override
    def keep_alive(self) -> bool:
        return True

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        await request.writer.write(written_accepted(self._response, unix_s=int(time.time())))
        await request.writer.drain()  # waits for a peer that does not read its answers

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written it all."""
