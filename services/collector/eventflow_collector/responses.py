"""Answers to requests, as values: the one to stored events, and RFC 9457 problem details for errors. Pure."""

import json
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import NamedTuple

from eventflow.senders.vocabulary import Answer
from eventflow_collector.senders.handshake import Reply

RETRY_AFTER_S = 5
ACCEPTANCES_MAX = 8
"""Number of kept heads of acceptances: one for each pair of a status and a content type."""

_SERVER_HEADER = {"Server": "event-flow"}
PROBLEM_TYPE = "application/problem+json"

_TEXT_HEADERS = {"Content-Type": "text/plain; charset=utf-8", **_SERVER_HEADER}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_JSON_HEADERS = {"Content-Type": "application/json; charset=utf-8", **_SERVER_HEADER}


class Response(NamedTuple):
    """One answer. A tuple, because one is made for every event, and a frozen dataclass takes three times as long.

    Attributes:
        headers: Without the length of the answer and its date.
        closes: The connection is closed after it.
        is_acceptance: The answer to stored events. Many have the same status and headers, so their text is kept.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    closes: bool = False
    is_acceptance: bool = False


_DEFAULT = Answer()


def accepted(ids: Sequence[str], *, is_batch: bool, answer: Answer = _DEFAULT) -> Response:
    """Answer that the events are stored, with their ids unless the answer of the flow is a fixed one."""
    if answer.text or answer.body == "empty" or answer.status == 204:
        return _fixed(answer)
    # The answer to one event is written without an encoder, which takes more time for a string.
    document = json.dumps({"ids": ids}) if is_batch else f'{{"id": {encode_basestring_ascii(ids[0])}}}'
    return Response(answer.status, _JSON_HEADERS, document.encode(), is_acceptance=True)


def reply(given: Reply) -> Response:
    """Answer a handshake."""
    return Response(status=given.status, headers={**given.headers, **_SERVER_HEADER}, body=given.body)


def description(document: bytes) -> Response:
    """Answer with the description of the interface, in JSON."""
    return Response(status=200, headers={"Content-Type": "application/json", **_SERVER_HEADER}, body=document)


def problem(status: int, detail: str, *, closes: bool = False, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
    """Answer with a problem; 503 names the time to wait, and 401 the way to authenticate.

    Args:
        status: HTTP status.
        detail: For the sender.
        closes: The connection is closed after the answer.
        headers: In addition to those of every problem, such as `Allow` of a 405.
    """
    fields = {"Content-Type": PROBLEM_TYPE, **_SERVER_HEADER, **headers}
    if status == 503:
        fields["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        fields["WWW-Authenticate"] = 'ApiKey realm="events"'
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(status=status, headers=fields, body=json.dumps(document).encode(), closes=closes)


@lru_cache
def _fixed(answer: Answer) -> Response:
    if answer.status == 204 or not answer.text:
        return Response(answer.status, _SERVER_HEADER, b"", is_acceptance=True)
    return Response(answer.status, _TEXT_HEADERS, answer.text.encode(), is_acceptance=True)


def written_accepted(response: Response, *, unix_s: int) -> bytes:
    """Encode an acceptance for a connection that is kept open, in HTTP/1.1.

    Most answers are of this kind, and only date and length differ, so the rest is kept for a second.
    """
    head = _accepted_head(response.status, response.headers.get("Content-Type"), unix_s)
    if response.status == 204:
        return head + b"\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(response.body), response.body)


def written(response: Response, *, unix_s: int) -> bytes:
    """Encode any answer to a request in HTTP/1.1, as aiohttp writes it."""
    if response.is_acceptance and not response.closes:
        return written_accepted(response, unix_s=unix_s)
    length = {} if response.status == 204 else {"Content-Length": len(response.body)}  # RFC 9110, 8.6
    fields: dict[str, object] = {**response.headers, **length, "Date": formatdate(unix_s, usegmt=True)}
    if response.closes:
        fields["Connection"] = "close"
    return _written(response, fields)


def written_final(response: Response) -> bytes:
    """Encode an answer for a connection that is closed after it."""
    fields = {**response.headers, "Connection": "close", "Content-Length": len(response.body)}
    return _written(response, fields)


def _written(response: Response, fields: Mapping[str, object]) -> bytes:
    head = f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n{_lines(fields)}\r\n"
    return head.encode() + response.body


@lru_cache(maxsize=ACCEPTANCES_MAX)
def _accepted_head(status: int, content_type: str | None, unix_s: int) -> bytes:
    described = {} if content_type is None else {"Content-Type": content_type}
    fields = {**described, **_SERVER_HEADER, "Date": formatdate(unix_s, usegmt=True)}
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{_lines(fields)}".encode()


def _lines(fields: Mapping[str, object]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())
