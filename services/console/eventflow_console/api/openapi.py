"""The description of the API, in OpenAPI 3.1. It is the same for every console: flows are named to operators only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eventflow.event import ATTRIBUTE_MAX_BYTES
from eventflow.history.filters import FAILURES, PAGE_MAX
from eventflow.history.records import OUTCOMES, Action, AttemptRecord
from eventflow.topology import FLOW_NAME
from eventflow_console.api.attempts import ROWS_MAX, ROWS_USUAL, SELECTION
from eventflow_console.api.documents import INFINITE, Schemas, reference
from eventflow_console.api.streams import NDJSON
from eventflow_console.parameters import PAGE_USUAL
from eventflow_console.refusals import PROBLEM_TYPE

VERSION: Final = "1"
"""Of the API, not of the program."""

JSON: Final = "application/json"
PREFIX: Final = "/api/v1"

_DESCRIPTION: Final = (
    "The answers of the console's pages, for programs. An unknown value is null, and never 0; `problems` has the "
    f"reasons in sentences. A time is RFC 3339 in UTC. A number without a limit is `{INFINITE}`. Parameters and "
    "members of bodies that are not described are refused."
)

_PROBLEMS: Final[Mapping[int, str]] = {
    400: "A parameter or a member of the body is malformed, or the selection has no index; the detail has the remedy.",
    401: "A name and a password are expected.",
    403: "The console only shows, or another site made the request, or the proxy in front has sent no user.",
    404: "There is nothing of this name.",
    405: "The address does not take requests of this method.",
    408: "The body did not come in time.",
    409: "Dead letters of the flow are being replayed already.",
    413: "The body is too large.",
    415: "A body of another type is expected.",
    421: "The console is not known by this host name.",
    429: "Too many wrong passwords came from this address.",
    431: "A line of the head is too long, or there are too many.",
    503: "RabbitMQ or the history cannot be used now.",
}
_ALWAYS: Final = (400, 401, 403, 405, 421, 429, 431, 503)
_WITH_BODY: Final = (408, 413, 415)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        name: Its `operationId`.
        parameters: Names in `_PARAMETERS`.
        answer: Name of the schema of the answer; of one line, if the answer has many.
        body: Name of the schema of the body; None without a body.
        refused: Statuses of problems, beside those that each operation can have.
    """

    name: str
    method: str
    path: str
    tag: str
    summary: str
    answer: str
    status: int = 200
    media_type: str = JSON
    parameters: Sequence[str] = ()
    body: str | None = None
    refused: Sequence[int] = ()


OPERATIONS: Final = (
    Operation(
        name="listAttempts",
        method="get",
        path="/attempts",
        tag="history",
        summary="List attempts of a flow, the newest first.",
        parameters=(*SELECTION, "after", "limit"),
        answer="AttemptsPage",
    ),
    Operation(
        name="streamAttempts",
        method="get",
        path="/attempts.ndjson",
        tag="history",
        summary="Get all attempts of a selection, one in each line. An answer that is cut short does not end properly.",
        parameters=(*SELECTION, "after", "rows"),
        answer="Attempt",
        media_type=NDJSON,
    ),
    Operation(
        name="listActions",
        method="get",
        path="/actions",
        tag="history",
        summary="List the latest actions of operators, the newest first.",
        parameters=("flow", "limit"),
        answer="ActionsPage",
    ),
    Operation(
        name="describe",
        method="get",
        path="/openapi.json",
        tag="about",
        summary="Get this description.",
        answer="Description",
    ),
)


def document() -> dict[str, Any]:
    """Build the description."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Event Flow console", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": "history", "description": "Attempts on record."}, {"name": "about"}],
        "security": [{"basic": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "parameters": _PARAMETERS,
            "schemas": _schemas(),
            "responses": {str(status): _problem(status) for status in _PROBLEMS},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    problems = sorted({*_ALWAYS, *operation.refused, *(_WITH_BODY if operation.body else ())})
    # The lines of a long answer are described by a schema, which tools would apply to the whole.
    schema = {"type": "string"} if operation.media_type == NDJSON else reference(operation.answer)
    answer = f"{operation.answer} in each line." if operation.media_type == NDJSON else operation.answer
    described = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters],
        "responses": {
            str(operation.status): {"description": answer, "content": {operation.media_type: {"schema": schema}}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in problems},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": reference(operation.body)}}}
    return described


def _schemas() -> dict[str, Any]:
    schemas = Schemas()
    return {
        "Attempt": _attempt(schemas),
        "AttemptsPage": _object(
            flow=_STRING,
            attempts=_unless_unknown(_array(reference("Attempt"))),
            next={**_unless_unknown(_STRING), "description": "Address of the next page; null on the last one."},
            problems=_SENTENCES,
        ),
        "Action": schemas.members_of(Action),
        "ActionsPage": _object(actions=_unless_unknown(_array(reference("Action"))), problems=_SENTENCES),
        "Description": {"type": "object"},
        "Problem": _PROBLEM,
        **schemas.by_name,
    }


def _attempt(schemas: Schemas) -> dict[str, Any]:
    """Return the schema of an attempt. JSON has no bytes, so an answer that is no text has a member of its own."""
    schema = schemas.members_of(AttemptRecord)
    schema["properties"]["answer_base64"] = {
        "type": "string",
        "description": "In place of `answer`, if that is not UTF-8.",
    }
    schema["required"].remove("answer")
    return schema


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


def _object(**members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(members), "properties": members, "additionalProperties": False}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _unless_unknown(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _in_query(name: str, description: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "required": required, "schema": schema}


_STRING: Final = {"type": "string"}
_SENTENCES: Final = {**_array(_STRING), "description": "Reasons for which values are unknown."}
_TEXT: Final = {"type": "string", "maxLength": ATTRIBUTE_MAX_BYTES}
_MOMENT: Final = {"type": "string", "maxLength": 64}
_TIMES: Final = "As RFC 3339, the same without seconds or without a zone (UTC), a date, or `2h` for 2 hours ago."
_PARAMETERS: Final = {
    "flow": _in_query(
        "flow",
        "Name of a flow; without it all of them, or the only one, or `default`.",
        {"type": "string", "pattern": f"^{FLOW_NAME.pattern}$"},
    ),
    "outcome": _in_query(
        "outcome",
        f"`{FAILURES}` is every attempt that was not a settled success.",
        {"enum": [*OUTCOMES, FAILURES]},
    ),
    "reason": _in_query("reason", "Reason of a failure.", _TEXT),
    "status": _in_query("status", "HTTP status.", {"type": "integer", "minimum": 100, "maximum": 999}),
    "type": _in_query("type", "Type of the event.", _TEXT),
    "since": _in_query("since", f"Earliest time, inclusive. {_TIMES}", _MOMENT),
    "until": _in_query("until", f"Latest time, exclusive. {_TIMES}", _MOMENT),
    "after": _in_query("after", "Place of the last attempt of a page; `next` of that page has it.", _MOMENT),
    "limit": _in_query(
        "limit", f"Rows at most; {PAGE_USUAL} by default.", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX}
    ),
    "rows": _in_query(
        "limit", f"Rows at most; {ROWS_USUAL} by default.", {"type": "integer", "minimum": 1, "maximum": ROWS_MAX}
    ),
}
_PROBLEM: Final = {
    "description": "RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for a person."},
    },
}
