"""An event that a program makes, with its attributes checked. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from eventflow.event import Event, new_event_id, require_attribute, require_text, usable_traceparent, utc_now
from eventflow.extensions import require_extensions

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"

DEFAULT_SOURCE: Final = "outbox"
"""Source of an event whose program names none; also the default of the column."""

Body = bytes | str | Mapping[str, Any] | list[Any]
"""Bytes as they are, a text in UTF-8, or a `dict` or `list`, which becomes JSON."""


def new_event(
    *,
    type: str,  # noqa: A002 - the name of the attribute
    body: Body = b"",
    id: str | None = None,  # noqa: A002 - the same
    source: str = DEFAULT_SOURCE,
    subject: str | None = None,
    time: datetime | None = None,
    content_type: str | None = None,
    dataschema: str | None = None,
    extensions: Mapping[str, Any] | None = None,
    traceparent: str | None = None,
    accepted_at: datetime | None = None,
) -> Event:
    """Make an event.

    Args:
        type: The kind of event, such as `order.paid`.
        body: `bytes`, a `str`, or a `dict` or `list`, which becomes JSON.
        id: Of 1 to 255 bytes, unique within its source; by default a new one.
        source: The system in which it happened.
        time: Aware; by default now.
        content_type: By default that of the kind of body: none for bytes.
        extensions: Attributes of your own; each value becomes a text.
        traceparent: W3C trace context, in which the event is traced; ignored if it is not valid.
        accepted_at: The time from which its age counts; by default now.

    Raises:
        InvalidEventError: An attribute has a wrong form; the message names it.
        TypeError: The body is none of these kinds, or cannot be written as JSON.
    """
    content, usual_type = _content_of(body)
    now = accepted_at or utc_now()
    return Event(
        id=new_event_id() if id is None else require_attribute("id", id),
        source=require_text("source", source),
        type=require_attribute("type", type),
        time=time or now,
        accepted_at=now,
        body=content,
        content_type=usual_type if content_type is None else require_attribute("content_type", content_type),
        subject=None if subject is None else require_text("subject", subject),
        dataschema=None if dataschema is None else require_text("dataschema", dataschema),
        extensions=require_extensions(extensions or {}),
        traceparent=usable_traceparent(traceparent),
    )


def _content_of(body: Body) -> tuple[bytes, str | None]:
    match body:
        case bytes():
            return body, None
        case str():
            return body.encode(), TEXT
        case Mapping() | list():
            return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), JSON
        case _:
            raise TypeError(f"a body is bytes, a str, a dict or a list, and not {type(body).__name__}")
