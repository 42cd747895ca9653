"""Answers in JSON, and the parameters that a request may have."""

import json
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from eventflow.errors import InvalidInputError
from eventflow_console.api.documents import as_json
from eventflow_console.bodies import require_known
from eventflow_console.history import Problem
from eventflow_console.refusals import RequestRefusedError

JSON: Final = "application/json"


def parameters_of(request: web.Request, *known: str) -> dict[str, str]:
    """Return the parameters in the address of a request.

    Raises:
        InvalidInputError: One is unknown, or is there twice.
    """
    require_known(request.query.keys(), known)
    if len(request.query) > len(set(request.query)):
        raise InvalidInputError("each parameter is expected once")
    return dict(request.query)


def answer(document: object, *, status: int = 200) -> web.Response:
    """Return a value as an answer."""
    return web.Response(status=status, body=json.dumps(as_json(document)).encode(), content_type=JSON)


def address(path: str, parameters: dict[str, str], **changed: str) -> str:
    """Return the address of another page of the same request."""
    return f"{path}?{urlencode(parameters | changed)}"


def sentences_of(*problems: Problem | None) -> list[str]:
    """Return the sentences about values that are unknown.

    Raises:
        RequestRefusedError: The store itself cannot be used, so there is nothing to answer.
    """
    found = [problem for problem in problems if problem is not None]
    for problem in found:
        if not problem.passes:
            raise RequestRefusedError(503, problem.sentence)
    return [problem.sentence for problem in found]
