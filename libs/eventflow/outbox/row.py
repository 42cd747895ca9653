"""A row of the outbox, and the statements that insert it. Pure; docs/handlers.md has the table as a contract."""

import json
from typing import Any, Final

from eventflow.event import Event

COLUMNS: Final = (
    "flow",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "dataschema",
    "extensions",
    "content_type",
    "body",
    "traceparent",
)


def row_of(event: Event, *, flow: str) -> dict[str, Any]:
    """Return the row of an event by column."""
    return {
        "flow": flow,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time,
        "subject": event.subject,
        "dataschema": event.dataschema,
        "extensions": None if event.extensions is None else json.dumps(dict(event.extensions)),
        "content_type": event.content_type,
        "body": event.body,
        "traceparent": event.traceparent,
    }


def insert_with(placeholder: str) -> str:
    """Return the statement for a driver.

    Args:
        placeholder: How the driver writes a value: `${number}`, `:{name}`, `%s` or `%({name})s`.
    """
    values = [placeholder.format(number=number, name=name) for number, name in enumerate(COLUMNS, start=1)]
    values[COLUMNS.index("extensions")] = f"CAST({values[COLUMNS.index('extensions')]} AS jsonb)"
    return f"INSERT INTO eventflow.outbox ({', '.join(COLUMNS)}) VALUES ({', '.join(values)})"  # noqa: S608
