"""A row of the outbox, and the statements that insert it. Pure; docs/handlers.md has the table as a contract."""

import json
from collections.abc import Mapping
from typing import Any, Final

from eventflow.errors import InvalidEventError
from eventflow.event import Event
from eventflow.outbox.new_event import new_event

Row = Mapping[str, Any]
"""A row by column."""

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


def event_of(row: Row) -> Event:
    """Return the event in a row, which any program may have written.

    Raises:
        InvalidEventError: No event can have such an attribute; the message names it.
    """
    return new_event(
        id=row["id"],
        source=row["source"],
        type=row["type"],
        time=row["time"],
        subject=row["subject"],
        dataschema=row["dataschema"],
        extensions=None if row["extensions"] is None else _extensions_in(row["extensions"]),
        content_type=row["content_type"],
        body=row["body"],
        traceparent=row["traceparent"],
        accepted_at=row["created_at"],
    )


def _extensions_in(text: str) -> Mapping[str, Any]:
    try:
        extensions: Mapping[str, Any] = json.loads(text)
    except (ValueError, RecursionError):  # PostgreSQL keeps longer numbers and deeper objects than Python reads
        raise InvalidEventError("the extension attributes have a number that is too long, or are nested") from None
    return extensions


def insert_with(placeholder: str) -> str:
    """Return the statement for a driver.

    Args:
        placeholder: How the driver writes a value: `${number}`, `:{name}`, `%s` or `%({name})s`.
    """
    values = [placeholder.format(number=number, name=name) for number, name in enumerate(COLUMNS, start=1)]
    values[COLUMNS.index("extensions")] = f"CAST({values[COLUMNS.index('extensions')]} AS jsonb)"
    return f"INSERT INTO eventflow.outbox ({', '.join(COLUMNS)}) VALUES ({', '.join(values)})"  # noqa: S608
