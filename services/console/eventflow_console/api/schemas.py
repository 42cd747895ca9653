"""The schemas of answers, bodies and parameters."""

from typing import Any, Final, get_type_hints

from eventflow.control.overrides import RATE_MAX_PER_S, RATE_MIN_PER_S, Overrides
from eventflow.event import ATTRIBUTE_MAX_BYTES
from eventflow.history.filters import FAILURES, PAGE_MAX
from eventflow.history.records import OUTCOMES, Action, AttemptRecord, Gap
from eventflow.topology import FLOW_NAME
from eventflow_console.api.attempts import ROWS_MAX, ROWS_USUAL
from eventflow_console.api.documents import Schemas, reference
from eventflow_console.api.flows import SPANS
from eventflow_console.dead_letters import DeadCount, DeadEvent, DeadPage
from eventflow_console.jobs import Job
from eventflow_console.parameters import CONFIGURED, IDS_MAX, PAGE_USUAL
from eventflow_console.past import Step
from eventflow_console.present import Present

Schema = dict[str, Any]


def answers_and_bodies() -> dict[str, Schema]:
    """Return the schemas of all answers and bodies, by name."""
    schemas = Schemas()
    for value in (DeadCount, Job, Overrides):
        schemas.of(value)
    return {
        "Flows": _object(
            at=schemas.of(_PRESENT["at"]),
            broker=schemas.of(_PRESENT["broker"]),
            flows=schemas.of(_PRESENT["flows"]),
            problems=_SENTENCES,
        ),
        "Minutes": _object(
            flow=_STRING,
            step_minutes={"type": "integer"},
            steps=_array(schemas.of(Step)),
            gaps=_array(schemas.of(Gap)),
            problems=_SENTENCES,
        ),
        "Event": _object(
            id=_STRING,
            flow={**_STRING, "description": "The flow in which processors and dead letters were searched."},
            attempts=_unless_unknown(_array(reference("Attempt"))),
            processors=_unless_unknown(_PROCESSORS),
            dead=_unless_unknown(schemas.of(DeadEvent)),
            problems=_SENTENCES,
        ),
        "Attempt": _attempt(schemas),
        "AttemptsPage": _object(
            flow=_STRING,
            attempts=_unless_unknown(_array(reference("Attempt"))),
            next={**_unless_unknown(_STRING), "description": "Address of the next page; null on the last one."},
            problems=_SENTENCES,
        ),
        "DeadLetter": {"type": "object", "description": "A dead letter, as `eventflow dead export` writes it."},
        "DeadLettersPage": _object(flow=_STRING, **schemas.members_of(DeadPage)["properties"]),
        "JobsPage": _object(jobs=_array(reference("Job"))),
        "Action": schemas.members_of(Action),
        "ActionsPage": _object(actions=_unless_unknown(_array(reference("Action"))), problems=_SENTENCES),
        "Description": {"type": "object"},
        "Problem": _PROBLEM,
        **_ORDERS,
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


def _object(**members: Schema) -> Schema:
    return {"type": "object", "required": list(members), "properties": members, "additionalProperties": False}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _unless_unknown(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _in_query(name: str, description: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "description": description, "required": required, "schema": schema}


_STRING: Final[Schema] = {"type": "string"}
_SENTENCES: Final[Schema] = {**_array(_STRING), "description": "Reasons for which values are unknown."}
_TEXT: Final[Schema] = {"type": "string", "maxLength": ATTRIBUTE_MAX_BYTES}
_MOMENT: Final[Schema] = {"type": "string", "maxLength": 64}
_TIMES: Final = "As RFC 3339, the same without seconds or without a zone (UTC), a date, or `2h` for 2 hours ago."
_CONDITIONS: Final[Schema] = {
    "reason": _TEXT,
    "status": {"type": "string", "pattern": "^[1-9][0-9]{2}$"},
    "type": _TEXT,
    "since": _MOMENT,
    "until": _MOMENT,
}
_FLOW: Final[Schema] = {"type": "string", "pattern": f"^{FLOW_NAME.pattern}$"}
_PRESENT: Final = get_type_hints(Present)
_PROCESSORS: Final = _object(
    all={"type": "integer", "description": "Number of processors; some may not have answered."},
    answers={"type": "object", "additionalProperties": {"type": "object"}},
)
_ORDERS: Final[Schema] = {
    "FlowOrder": _object(flow=_FLOW),
    "RateOrder": _object(
        flow=_FLOW,
        rate_per_s={
            "description": f"Units per second for all processors together; `{CONFIGURED}` is the rate in the settings.",
            "anyOf": [{"type": "number", "minimum": RATE_MIN_PER_S, "maximum": RATE_MAX_PER_S}, {"const": CONFIGURED}],
        },
    ),
    "CancelOrder": _object(id=_STRING),
    "ExportOrder": {**_object(flow=_FLOW, **_CONDITIONS), "required": ["flow"]},
    "ReplayOrder": {
        **_object(
            flow=_FLOW,
            all={"type": "boolean", "description": "Must be true if there is no condition, and false otherwise."},
            ids={**_array(_TEXT), "minItems": 1, "maxItems": IDS_MAX, "description": "Ids of events."},
            **_CONDITIONS,
        ),
        "required": ["flow"],
    },
}
PARAMETERS: Final[Schema] = {
    "id": _in_query("id", "Id of an event.", {**_TEXT, "minLength": 1}, required=True),
    "job": _in_query("id", "Id of a replay.", _STRING, required=True),
    "range": _in_query("range", "Length of the past; 1h by default.", {"enum": list(SPANS)}),
    "flow": _in_query(
        "flow",
        "Name of a flow. Without it: all flows if the operation has them, otherwise the only one, or `default`.",
        _FLOW,
    ),
    "outcome": _in_query(
        "outcome",
        f"`{FAILURES}` is every attempt except a settled success.",
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
_PROBLEM: Final[Schema] = {
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
