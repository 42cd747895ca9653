"""Error answers: RFC 9457 problem details, one place for all of them."""

import json
from enum import StrEnum
from http import HTTPStatus

from aiohttp import web

from eventflow_collector.senders.signature import Flaw

RETRY_AFTER_S = 5
SERVER_HEADER = {"Server": "event-flow"}
CONTENT_TYPE = "application/problem+json"


class Reason(StrEnum):
    """Why an event was not accepted; with `Flaw` the label of `eventflow_events_rejected_total`."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    UNKNOWN_FLOW = "unknown_flow"
    TOO_SLOW = "body_timeout"
    TOO_LARGE = "body_too_large"
    ENCODED = "content_encoding"
    CONTENT_TYPE = "content_type"
    OVERLOADED = "overloaded"
    UNCONFIRMED = "unconfirmed"
    INTERRUPTED = "interrupted"


class RejectedError(Exception):
    """A request ends with this answer. Not an error of ours: the sender learns of it."""

    def __init__(self, reason: Reason | Flaw, status: int, detail: str, *, close: bool = False) -> None:
        """Keep the answer; `close` ends the connection too, since the rest of the body is not read."""
        super().__init__(detail)
        self.reason = reason
        self.status = status
        self.detail = detail
        self.close = close


def problem_response(status: int, detail: str) -> web.Response:
    """Build a problem answer; 503 says when to come again, 401 how to prove who you are."""
    return web.Response(
        status=status, body=_document(status, detail), content_type=CONTENT_TYPE, headers=_headers(status)
    )


def written_problem(status: int, detail: str) -> bytes:
    """Write a problem answer as it goes over the wire, for a connection that is closed behind it."""
    body = _document(status, detail)
    fields = {"Content-Type": CONTENT_TYPE, **_headers(status), "Connection": "close", "Content-Length": len(body)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode() + body


def _headers(status: int) -> dict[str, str]:
    headers = dict(SERVER_HEADER)
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        headers["WWW-Authenticate"] = 'ApiKey realm="events"'
    return headers


def _document(status: int, detail: str) -> bytes:
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return json.dumps(document).encode()
