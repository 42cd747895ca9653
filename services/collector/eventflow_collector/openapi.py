"""The description of the public HTTP interface, in OpenAPI 3.1; served at /openapi.json. Pure.

It is the same for every deployment: the names of the flows, and their demands, are shown to their senders only.
"""

from typing import Any

from eventflow.event import ATTRIBUTE_MAX_BYTES, TEXT_MAX_BYTES
from eventflow.extensions import EXTENSIONS_MAX, EXTENSIONS_MAX_BYTES
from eventflow.senders.table import SENDERS
from eventflow.topology import FLOW_NAME
from eventflow_collector.intake import cloudevents
from eventflow_collector.intake.attributes import IDEMPOTENCY_KEY
from eventflow_collector.intake.mode import CLOUDEVENT, CLOUDEVENTS_BATCH, JSON, NDJSON
from eventflow_collector.responses import PROBLEM_TYPE
from eventflow_collector.senders.identity import Identity

VERSION = "1"
"""Of the interface, not of the program."""

_DESCRIPTION = (
    "Any body is an event. It is passed on byte for byte with its content type, unless this declares a CloudEvent "
    "or several events. A content coding (gzip, deflate, br) is removed. 202 means that every event of the request is "
    "stored durably; the settings of a flow may replace it by 200 or 204. Ids and types have 1 to "
    f"{ATTRIBUTE_MAX_BYTES} bytes of printable characters; other attributes have 1 to {TEXT_MAX_BYTES} bytes without "
    "control characters.\n\n"
    "A flow may demand an API key, a signature, or both. Known signatures: "
    f"{', '.join(sender.title for sender in SENDERS.values())}."
)

_PROBLEMS = {
    400: "The request is not valid HTTP, or not an event.",
    401: "A key or a signature is missing, wrong or too old.",
    403: "The verify token of a handshake is wrong, or the flow does not confirm subscriptions.",
    404: "There is no such flow.",
    405: "The flow takes neither events nor handshakes by this method.",
    408: "The body took too long.",
    413: "The body, an event of it, or their number is too large.",
    414: "The path and the query are too long.",
    415: "The content coding is not known, or the content type is not accepted in this form.",
    417: "The header `Expect` asks for something other than `100-continue`.",
    431: "A header is too long, or there are too many.",
    501: "The transfer coding is not `chunked`.",
    503: "An event could not be made durable. Some of a batch may have been; send it again under the same ids.",
}


def document() -> dict[str, Any]:
    """Build the description."""
    flow = {
        "name": "flow",
        "in": "path",
        "required": True,
        "description": "Name of the flow.",
        "schema": {"type": "string", "pattern": f"^{FLOW_NAME.pattern}$"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Event Flow", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": "events", "description": "Where events come in."}, {"name": "about"}],
        "security": [{"apiKey": []}, {}],
        "paths": {
            "/events": {
                "post": _receive("sendToDefault", "Send to the flow `default`."),
                **{method: _shake_hands(f"{method}Default") for method in _HANDSHAKE_METHODS},
            },
            "/events/{flow}": {
                "post": _receive("sendToFlow", "Send to a flow."),
                **{method: _shake_hands(f"{method}Flow") for method in _HANDSHAKE_METHODS},
                "parameters": [flow],
            },
            "/openapi.json": {"get": _describe()},
        },
        "components": {
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
            "parameters": {name: _attribute(name) for name in _ATTRIBUTES}
            | {"batch": _BATCH, cloudevents.TIME_HEADER: _TIME},
            "schemas": {
                "CloudEvent": _CLOUDEVENT,
                "Accepted": {"oneOf": [_accepted("id", _ID), _accepted("ids", {"type": "array", "items": _ID})]},
                "Problem": _PROBLEM,
            },
            "responses": {str(status): _problem(text, status) for status, text in _PROBLEMS.items()},
        },
    }


def _receive(operation_id: str, summary: str) -> dict[str, Any]:
    cloudevent = {"$ref": "#/components/schemas/CloudEvent"}
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["events"],
        "parameters": [
            {"$ref": f"#/components/parameters/{name}"} for name in (*_ATTRIBUTES, cloudevents.TIME_HEADER, "batch")
        ],
        "requestBody": {
            "required": False,
            "content": {
                CLOUDEVENT: {"schema": cloudevent},
                CLOUDEVENTS_BATCH: {"schema": {"type": "array", "items": cloudevent}},
                NDJSON: {"schema": {"description": "One event, any JSON, in each line."}},
                JSON: {"schema": {"description": "Any JSON; with `batch=1` an array of events."}},
                "*/*": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "202": _ACCEPTED,
            "200": {**_HANDSHAKEN, "description": f"The same, if the settings of the flow demand this status. {_OR}"},
            "201": {**_HANDSHAKEN, "description": _OR},
            "204": {"description": f"The same, without a body. {_OR}"},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _PROBLEMS},
        },
    }


def _shake_hands(operation_id: str) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "summary": "Check the endpoint, in a flow whose sender does so by this method.",
        "description": "If the settings of the flow allow it, such a request may also be an event.",
        "tags": ["events"],
        "responses": {
            **{status: {**_HANDSHAKEN, "description": _HANDSHAKE} for status in ("200", "201", "202")},
            "204": {"description": _HANDSHAKE},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _PROBLEMS},
        },
    }


def _describe() -> dict[str, Any]:
    return {
        "operationId": "describe",
        "summary": "Get this description.",
        "tags": ["about"],
        "security": [],
        "responses": {
            "200": {"description": "This description.", "content": {JSON: {"schema": {"type": "object"}}}},
            "400": {"$ref": "#/components/responses/400"},
        },
    }


def _content(media_type: str, schema: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _problem(description: str, status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": description,
        "content": _content(PROBLEM_TYPE, "Problem"),
    }
    if status == 503:
        response["headers"] = {
            "Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}
        }
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return response


def _accepted(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: schema}, "additionalProperties": False}


def _attribute(name: str) -> dict[str, Any]:
    schema = _ID_IN_HEADER if name in _ID_NAMES else {"type": "string"}
    return {"name": name, "in": "header", "description": _ATTRIBUTES[name], "schema": schema}


_HANDSHAKE_METHODS = ("get", "head", "options")
_HANDSHAKE = "The answer that the flow's sender expects when it checks the endpoint; nothing is stored."
_OR = f"Or: {_HANDSHAKE}"
_HANDSHAKEN = {
    "content": {JSON: {"schema": {"type": "object"}}, "text/plain": {"schema": {"type": "string"}}},
}
_ACCEPTED = {
    "description": "Every event is safe. By settings of the flow, the body is empty or a fixed text.",
    "content": {**_content(JSON, "Accepted"), "text/plain": {"schema": {"type": "string"}}},
}
_ID = {"type": "string", "minLength": 1, "maxLength": ATTRIBUTE_MAX_BYTES}
_TEXT = {"type": "string", "minLength": 1, "maxLength": TEXT_MAX_BYTES}
_ID_IN_HEADER = {"type": "string", "maxLength": ATTRIBUTE_MAX_BYTES, "pattern": "^[ -~]*$"}
_ID_HEADERS = (cloudevents.ID_HEADER, *Identity(SENDERS.values()).id_headers)
_ID_NAMES = frozenset({*_ID_HEADERS, IDEMPOTENCY_KEY})
_UNLESS = "unless `ce-specversion` declares a CloudEvent."
_LENIENT = f"Ignored if it is empty, longer than {ATTRIBUTE_MAX_BYTES} bytes or not printable, {_UNLESS}"
_LENIENT_TEXT = f"Ignored if it is empty, longer than {TEXT_MAX_BYTES} bytes or has control characters, {_UNLESS}"
_ATTRIBUTES = {
    **{name: f"The event's id; of these headers the first counts: {', '.join(_ID_HEADERS)}." for name in _ID_HEADERS},
    IDEMPOTENCY_KEY: "The event's id if no other header holds it; event i of a batch gets `{Idempotency-Key}-{i}`.",
    cloudevents.SOURCE_HEADER: f"CloudEvents `source`. {_LENIENT_TEXT}",
    cloudevents.TYPE_HEADER: f"CloudEvents `type`. {_LENIENT}",
    cloudevents.SUBJECT_HEADER: f"CloudEvents `subject`. {_LENIENT_TEXT}",
    cloudevents.DATASCHEMA_HEADER: f"CloudEvents `dataschema`. {_LENIENT_TEXT}",
}
_TIME = {
    "name": cloudevents.TIME_HEADER,
    "in": "header",
    "description": f"CloudEvents `time`, as RFC 3339. {_LENIENT}",
    "schema": {"type": "string"},
}
_BATCH = {
    "name": "batch",
    "in": "query",
    "description": "Take each element of a JSON array as an event.",
    "schema": {"const": "1"},
}
_CLOUDEVENT = {
    "description": (
        f"Further members are extension attributes: at most {EXTENSIONS_MAX} texts, booleans and integers of "
        f"{EXTENSIONS_MAX_BYTES} bytes together, with lower-case letters and digits as names. In binary mode they are "
        "headers such as `ce-partitionkey`. Other members are passed on in the body only."
    ),
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": cloudevents.SPEC_VERSION},
        "id": _ID,
        "source": _TEXT,
        "type": _ID,
        "subject": {"oneOf": [_TEXT, {"type": "null"}]},
        "time": {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
    },
}
_PROBLEM = {
    "description": "RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
