"""The description of the API, in OpenAPI 3.1. It is the same for every console, because it has no name of a flow."""

from collections.abc import Mapping
from typing import Any, Final

from eventflow_console.api.documents import INFINITE, reference
from eventflow_console.api.operations import OPERATIONS, PREFIX, Operation
from eventflow_console.api.schemas import PARAMETERS, answers_and_bodies
from eventflow_console.refusals import PROBLEM_TYPE
from eventflow_console.rows import NDJSON

VERSION: Final = "1"
"""Of the API, not of the program."""

JSON: Final = "application/json"

_DESCRIPTION: Final = (
    "The answers of the console's pages, for programs. An unknown value is null, and never 0; `problems` has the "
    f"reasons in sentences. A time is RFC 3339 in UTC. A number without a limit is `{INFINITE}`. Parameters and "
    "members of bodies that are not described are refused."
)

_PROBLEMS: Final[Mapping[int, str]] = {
    400: "A parameter or a member of the body is malformed, or the selection has no index; the detail has the remedy.",
    401: "A name and a password are expected.",
    403: "The console is read-only, or another site made the request, or the proxy in front has sent no user.",
    404: "There is no such flow, nothing with this id, or no such address.",
    405: "The address does not take requests of this method.",
    408: "The body did not come in time.",
    409: "Another operation reads the dead letters of the flow.",
    413: "The body is too large.",
    415: "A body of another type is expected.",
    421: "The console is not known by this host name.",
    429: "Too many wrong passwords came from this address.",
    431: "A line of the head is too long, or there are too many.",
    503: "RabbitMQ or the history cannot be used now.",
}
_ALWAYS: Final = (400, 401, 403, 404, 405, 421, 429, 431, 503)
_WITH_BODY: Final = (408, 413, 415)


def document() -> dict[str, Any]:
    """Build the description."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Event Flow console", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "security": [{"basic": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "parameters": PARAMETERS,
            "schemas": answers_and_bodies(),
            "responses": {str(status): _problem(status) for status in _PROBLEMS},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    problems = sorted({*_ALWAYS, *operation.refused, *(_WITH_BODY if operation.body else ())})
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters],
        "responses": {
            str(operation.status): _answer(operation),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in problems},
        },
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": reference(operation.body)}}}
    return described


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.is_long:
        # OpenAPI 3.1 cannot describe each line, and tools would apply a schema to the whole answer.
        return {"description": f"`{operation.answer}` in each line.", "content": {NDJSON: {"schema": {}}}}
    return {"description": operation.answer, "content": {JSON: {"schema": reference(operation.answer)}}}


def _problem(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": _PROBLEMS[status],
        "content": {PROBLEM_TYPE: {"schema": reference("Problem")}},
    }
    if status in {429, 503}:
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return response
