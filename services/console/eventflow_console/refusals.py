"""Requests that are refused, as errors and as problem details (RFC 9457)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from aiohttp import web

from eventflow.errors import BusyError, EventFlowError, InvalidInputError, UnboundedFilterError

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_STATUSES: Final[Mapping[type[EventFlowError], int]] = {
    InvalidInputError: 400,
    UnboundedFilterError: 400,
    BusyError: 409,
    EventFlowError: 503,  # RabbitMQ or the history cannot be used; the message names it
}
"""The first class that fits an error has its status."""

_SENTENCES: Final = {
    404: "There is nothing at this address.",
    405: "This address does not take requests of this method.",
    413: "The request is too large.",
}


class RequestRefusedError(EventFlowError):
    """A request that is refused; the message is a sentence for the person who made it.

    Attributes:
        status: HTTP status.
        headers: Headers of the answer.
    """

    def __init__(self, status: int, sentence: str, *, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {"Retry-After": str(RETRY_AFTER_S), **headers} if status == 503 else dict(headers)

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase


def refusal_of(error: Exception) -> RequestRefusedError:
    """Return the refusal that answers an error."""
    match error:
        case RequestRefusedError():
            return error
        case web.HTTPException():
            return _refusal_of_aiohttp(error)
        case EventFlowError():
            status = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
            return RequestRefusedError(status, str(error))
        case _:
            return RequestRefusedError(500, "An error inside the console; its log has the details.")


def _refusal_of_aiohttp(error: web.HTTPException) -> RequestRefusedError:
    """Return a refusal with the sentence of a view. aiohttp's own texts repeat the status, or quote the request."""
    status, sentence = error.status, error.text or ""
    if not sentence or sentence.startswith(f"{status}:") or status == 413:
        sentence = _SENTENCES.get(status, HTTPStatus(status).description)
    return RequestRefusedError(
        status, sentence, headers={"Allow": error.headers["Allow"]} if "Allow" in error.headers else _NO_HEADERS
    )


def problem_response(refusal: RequestRefusedError) -> web.Response:
    """Return the answer for a program."""
    document = {
        "type": "about:blank",
        "title": refusal.title,
        "status": refusal.status,
        "detail": str(refusal),
    }
    return web.Response(
        status=refusal.status,
        body=json.dumps(document).encode(),
        content_type=PROBLEM_TYPE,
        headers=refusal.headers,
    )
