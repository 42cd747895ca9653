"""Parts of a sender's request that a flow forwards to its target: headers, and the query of the URL. Pure.

All of them travel in one header of the message, as one text. So a sender cannot choose the name of a header or a
property there, and the content header, which AMQP cannot split, stays below the limit of a frame.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from eventflow.http_token import is_token

FORWARDED_MAX_BYTES: Final = 16 * 1024
"""Limit of the text. Many HTTP servers refuse more bytes of headers."""

_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")
"""A header has no control character except the tab. A surrogate stands for a byte that is not UTF-8."""

_QUERY = re.compile(r"[!-\"$-~]*")
"""Visible ASCII without the number sign, which would end the query."""

_RESERVED = frozenset(
    {
        # of one connection (RFC 9110, 7.6.1)
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # of one body, or of one host
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        # they change the answer, which is for us and not for the sender
        "accept",
        "accept-encoding",
        "range",
        # ours
        "idempotency-key",
        "traceparent",
        "user-agent",
    }
)
_RESERVED_PREFIXES = ("ce-", "eventflow-", "if-", "sec-websocket-")

_CUT = '{"left_out":'


def is_forwardable(name: str) -> bool:
    """Whether a header may be forwarded, by its name. Headers of a connection, and those that we set, may not."""
    lower = name.lower()
    return lower not in _RESERVED and not lower.startswith(_RESERVED_PREFIXES) and is_token(name)


def is_forwardable_value(value: str) -> bool:
    """Whether the value of a header can be sent to a target as it is."""
    return _VALUE.fullmatch(value) is not None


def is_forwardable_query(query: str) -> bool:
    """Whether a query can be part of a URL as it is."""
    return _QUERY.fullmatch(query) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The forwarded parts.

    Attributes:
        headers: By their names in lower case. Each satisfies `is_forwardable`.
        query: As received, without a question mark; empty if there is none.
        left_out: Number of headers, and perhaps the query, that were to be forwarded and could not be.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The forwarded parts as the text that travels. Only the target needs the parts, so nothing else parses it."""

    text: str

    @property
    def is_cut(self) -> bool:
        """Whether something was left out."""
        return self.text.startswith(_CUT)

    @property
    def parts(self) -> Parts:
        """The parts. Those that no target may get are skipped: any program can write a message."""
        try:
            document = json.loads(self.text)
        except (ValueError, RecursionError):
            return Parts()
        return _parts_in(document) if isinstance(document, dict) else Parts()


def forwarded(parts: Parts) -> Forwarded:
    """Write the parts as text; `parts` reads it again."""
    document: dict[str, Any] = {}
    if parts.left_out:
        document["left_out"] = parts.left_out  # the first member, for `is_cut`
    if parts.headers:
        document["headers"] = dict(parts.headers)
    if parts.query:
        document["query"] = parts.query
    return Forwarded(json.dumps(document, separators=(",", ":")))


def is_forwarded_text(text: str) -> bool:
    """Whether a text from outside has the form that `forwarded` gives it: JSON in ASCII, within the limit."""
    return len(text) <= FORWARDED_MAX_BYTES and text.startswith("{") and text.isascii() and text.isprintable()


def _parts_in(document: Mapping[str, Any]) -> Parts:
    headers, query, left_out = document.get("headers"), document.get("query"), document.get("left_out")
    return Parts(
        headers={name: value for name, value in headers.items() if _is_sendable(name, value)}
        if isinstance(headers, dict)
        else {},
        query=query if isinstance(query, str) and is_forwardable_query(query) else "",
        left_out=left_out if isinstance(left_out, int) else 0,
    )


def _is_sendable(name: str, value: object) -> bool:
    return isinstance(value, str) and is_forwardable(name) and is_forwardable_value(value)
