"""The answer to what was accepted, which is most of what is ever answered."""

import json
import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web

from eventflow_collector.problem import SERVER_HEADER

_CONTENT_TYPE = "application/json; charset=utf-8"


def accepted_response(request: web.BaseRequest, ids: Sequence[str], *, is_batch: bool) -> web.StreamResponse:
    """Answer 202 with the ids of the events."""
    body = json.dumps({"ids": ids}).encode() if is_batch else b'{"id": %b}' % json.dumps(ids[0]).encode()
    if request.version == HttpVersion11 and request.keep_alive:
        return _Accepted(body)
    return web.Response(body=body, status=202, headers={"Content-Type": _CONTENT_TYPE, **SERVER_HEADER})


class _Accepted(web.StreamResponse):
    """Writes head and body in one go: of what aiohttp would put together each time, only date and length change.

    For HTTP/1.1 on a connection that is kept, so that no header has to say which of the two it is.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(status=202)
        self._content = body

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write it; one that reads no answers is waited for."""
        await request.writer.write(b"%b%d\r\n\r\n%b" % (_head(int(time.time())), len(self._content), self._content))
        await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: it is written."""


@lru_cache(maxsize=1)
def _head(unix_s: int) -> bytes:
    fields = {"Content-Type": _CONTENT_TYPE, **SERVER_HEADER, "Date": formatdate(unix_s, usegmt=True)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 202 Accepted\r\n{lines}Content-Length: ".encode()
