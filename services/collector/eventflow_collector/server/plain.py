"""Plain requests, the only ones that the collector parses itself: a POST to a flow, whole, in the simplest HTTP. Pure.

aiohttp parses all others. If two parsers could disagree about a request, here or in a proxy in front, an attacker might
smuggle another one inside its body. So a request is plain only if its bytes leave no room for a second reading, and
everything unusual is left to aiohttp, even if it is valid (ADR 29).
"""

import re
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from eventflow_collector.head import Head
from eventflow_collector.router import EVENTS_PATH, ToFlow, route

HEAD_MAX_BYTES = 8000
"""aiohttp refuses a line above 8190 bytes, so no line of a plain head comes near."""

KEPT_MAX_BYTES = 64 * 1024
"""Largest request of which the beginning is kept until the rest arrives. A larger incomplete one is not plain."""

HEADERS_MAX = 100
"""aiohttp refuses more than 128."""

HEADS_KEPT_MAX = 256
"""Number of cached heads, in 8 MiB at most. A sender that does not sign its requests repeats its heads exactly."""

LINES_KEPT_MAX = 128
"""Number of cached first lines, in 1 MiB at most. A sender repeats its own, also if it signs its requests."""

_START = f"POST {EVENTS_PATH}".encode()

_HEAD_END = b"\r\n\r\n"

_HEAD = re.compile(r"(?P<line>[!-~ ]++)\r\n(?P<fields>(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++: [!-~][ -~]*+(?<! )\r\n)++)\r\n")
"""The first line, then lines of a name, a colon, one space and a value. Names are tokens (RFC 9110, 5.6.2), and values
are printable ASCII. Excluded: bare CR and LF, NUL, tabs, bytes above 127, folded lines, spaces before the colon or
around the value, and empty values."""

_LENGTH = re.compile(r"[0-9]{1,9}")

_REQUEST_LINE = re.compile(r"POST (/[A-Za-z0-9_/~-]*)(?:\?([A-Za-z0-9._~%!$&'()*+,;=:@/-]+))? HTTP/1\.1")
"""Excluded from the path: percent-encoding and dots, which a proxy may resolve. The query may have all characters of
RFC 3986 except a question mark, and is used as it is written."""

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
    """A whole request; `end` is the position behind its last byte."""

    head: Head
    body: bytes
    end: int


def read_plain(data: bytes, start: int) -> PlainRequest | Unread:
    """Read the request that begins at `start`.

    After `NOT_PLAIN` nothing else can be read. After the other reasons the same bytes can be read again, with more
    behind them.
    """
    end_of_head = data.find(_HEAD_END, start, start + HEAD_MAX_BYTES)
    if end_of_head < 0:
        is_possible = len(data) - start < HEAD_MAX_BYTES and _may_begin_plain(data[start : start + len(_START)])
        return Unread.INCOMPLETE_HEAD if is_possible else Unread.NOT_PLAIN
    body_at = end_of_head + len(_HEAD_END)
    head_and_length = _head_of(data[start:body_at])
    if head_and_length is None:
        return Unread.NOT_PLAIN
    head, body_bytes = head_and_length
    end = body_at + body_bytes
    if end > len(data):
        return Unread.INCOMPLETE_BODY if end - start <= KEPT_MAX_BYTES else Unread.NOT_PLAIN
    return PlainRequest(head, data[body_at:end], end)


@lru_cache(maxsize=HEADS_KEPT_MAX)
def _head_of(encoded: bytes) -> tuple[Head, int] | None:
    """Read the lines before a body, and its length from them; None if they are not plain."""
    matched = _HEAD.fullmatch(encoded.decode("latin-1"))
    target = None if matched is None else _target_of(matched["line"])
    if matched is None or target is None:
        return None
    lines = matched["fields"].splitlines()
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    length = headers.get("content-length", "")
    is_plain = (
        len(headers) == len(lines) <= HEADERS_MAX  # otherwise a name is repeated
        and _LENGTH.fullmatch(length)
        and "host" in headers  # aiohttp refuses a request without it
        and headers.get("connection", "keep-alive").lower() == "keep-alive"
        and _NOT_PLAIN.isdisjoint(headers)
    )
    if not is_plain:
        return None
    fields = CIMultiDictProxy(CIMultiDict(headers))
    return Head("POST", *target, fields), int(length)


@lru_cache(maxsize=LINES_KEPT_MAX)
def _target_of(line: str) -> tuple[str, str, str] | None:
    """Return the flow, sub-path and query in the first line of a request; None if the line is not plain."""
    parts = _REQUEST_LINE.fullmatch(line)
    if parts is None:
        return None
    path, query = parts.groups(default="")
    routed = route("POST", path)
    return (routed.name, routed.sub_path, query) if isinstance(routed, ToFlow) else None


def _may_begin_plain(first: bytes) -> bool:
    """Whether a request that begins with these bytes can become a plain one."""
    return _START.startswith(first) or first == _START
