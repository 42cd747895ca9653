"""Plain requests, the only ones that the collector parses itself: a POST to a flow, whole, in the simplest HTTP.

httptools (llhttp, strict) parses them (ADR 29). aiohttp parses all others, with an llhttp of its own. If the two could
disagree about a request, an attacker might smuggle another one inside its body. So a request is plain only if its bytes
leave no room for a second reading, and everything unusual is left to aiohttp, even if it is valid.
"""

import re
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

import httptools
from multidict import CIMultiDict

from eventflow_collector.router import EVENTS_PATH, ROUTES_KEPT_MAX, ToFlow, route

HEAD_MAX_BYTES = 8000
"""aiohttp refuses a line above 8190 bytes, so no line of a plain head comes near."""

KEPT_MAX_BYTES = 64 * 1024
"""Largest request of which the beginning is kept until the rest arrives. A larger incomplete one is not plain."""

HEADERS_MAX = 100
"""aiohttp refuses more than 128."""

_START = f"POST {EVENTS_PATH}".encode()

_HEAD_END = b"\r\n\r\n"

_HEAD = re.compile(rb"[!-~ ]+\r\n(?:[!-9;-~]+: ?[!-~](?:[ -~]*[!-~])?\r\n)+\r\n")
"""Lines of printable ASCII. Excluded: bare CR and LF, NUL, tabs, bytes above 127, folded lines, spaces before the colon
or after the value, and empty values, of which httptools joins the name with the next one."""

_LENGTH = re.compile(rb"\r\n(?:Content-Length|content-length): ?(\d{1,9})\r\n")

_REQUEST_LINE = re.compile(r"POST (/[A-Za-z0-9_/-]*)(?:\?batch=(1))? HTTP/1\.1", re.ASCII)

_NOT_PLAIN = frozenset(
    {
        "content-encoding",  # several lines of it form one list
        "expect",
        "http2-settings",
        "proxy-connection",
        "sec-websocket-key1",  # aiohttp refuses it
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Unread(Enum):
    """The reasons for which no plain request was read."""

    INCOMPLETE_HEAD = auto()
    INCOMPLETE_BODY = auto()
    NOT_PLAIN = auto()


class PlainRequest(NamedTuple):
    """A whole request.

    Attributes:
        flow: The flow in its path, which may not exist.
        batch: The query parameter `batch`.
        end: The position behind its last byte.
    """

    flow: str
    batch: str | None
    headers: CIMultiDict[str]
    body: bytes
    end: int


class PlainReader:
    """Reads the plain requests of one connection, one after the other."""

    __slots__ = ("_headers", "_lines", "_messages", "_parser")

    def __init__(self) -> None:
        self._headers: dict[str, str] = {}
        self._lines = 0
        self._messages = 0
        self._parser = httptools.HttpRequestParser(self)

    def read(self, data: bytes, start: int) -> PlainRequest | Unread:
        """Read the request that begins at `start`.

        After `NOT_PLAIN` nothing else can be read. After the other reasons the same bytes can be read again, with more
        behind them.
        """
        end_of_head = data.find(_HEAD_END, start, start + HEAD_MAX_BYTES)
        if end_of_head < 0:
            is_possible = len(data) - start < HEAD_MAX_BYTES and _may_begin_plain(data[start : start + len(_START)])
            return Unread.INCOMPLETE_HEAD if is_possible else Unread.NOT_PLAIN
        body_at = end_of_head + len(_HEAD_END)
        target = _target_of(data[start : data.index(b"\r\n", start)])
        length = _LENGTH.search(data, start, body_at)
        if target is None or length is None or not _HEAD.fullmatch(data, start, body_at):
            return Unread.NOT_PLAIN
        end = body_at + int(length[1])
        if end > len(data):
            return Unread.INCOMPLETE_BODY if end - start <= KEPT_MAX_BYTES else Unread.NOT_PLAIN
        if not self._agrees(data if (start, end) == (0, len(data)) else data[start:end], length[1]):
            return Unread.NOT_PLAIN
        return PlainRequest(target[0], target[1], CIMultiDict(self._headers), data[body_at:end], end)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; called by the parser."""
        self._lines += 1
        self._headers[name.decode().lower()] = value.decode()

    def on_message_complete(self) -> None:
        """Note the end of a request; called by the parser."""
        self._messages += 1

    def _agrees(self, request: bytes, length: bytes) -> bool:
        """Whether the parser reads the same single request, without a header that changes its meaning."""
        self._headers, self._lines, self._messages = {}, 0, 0
        try:
            self._parser.feed_data(request)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        headers = self._headers
        return (
            self._messages == 1
            and len(headers) == self._lines <= HEADERS_MAX  # otherwise a name is repeated
            and headers.get("content-length") == length.decode()
            and "host" in headers  # aiohttp refuses a request without it
            and headers.get("connection", "keep-alive").lower() == "keep-alive"
            and _NOT_PLAIN.isdisjoint(headers)
        )


@lru_cache(maxsize=ROUTES_KEPT_MAX)
def _target_of(request_line: bytes) -> tuple[str, str | None] | None:
    """Return the flow and the parameter `batch` of a request; None if its first line is not plain."""
    parts = _REQUEST_LINE.fullmatch(request_line.decode("latin-1"))
    if parts is None:
        return None
    routed = route("POST", parts[1])
    return (routed.name, parts[2]) if isinstance(routed, ToFlow) else None


def _may_begin_plain(first: bytes) -> bool:
    """Whether a request that begins with these bytes can become a plain one."""
    return _START.startswith(first) or first == _START
