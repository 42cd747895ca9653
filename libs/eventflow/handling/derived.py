"""Events that a handler derives from the one it handles. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from eventflow.event import ATTRIBUTE_MAX_BYTES, Event, require_attribute, require_text
from eventflow.extensions import extensions_of

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"

Body = bytes | str | Mapping[str, Any] | list[Any]
"""Bytes as they are, a text in UTF-8, or an object or array that becomes JSON."""


@dataclass(slots=True, kw_only=True)
class DerivedEvent(Event):
    """An event for another flow.

    Attributes:
        flow: The flow that it goes into.
    """

    flow: Final[str]


def new_event(
    *,
    id: str,  # noqa: A002 - the name of the attribute
    source: str,
    type: str,  # noqa: A002 - the same
    flow: str,
    body: Body,
    now: datetime,
    time: datetime | None = None,
    content_type: str | None = None,
    subject: str | None = None,
    dataschema: str | None = None,
    extensions: Mapping[str, str] | None = None,
    traceparent: str | None = None,
) -> DerivedEvent:
    """Make an event for a flow.

    Args:
        id: Of 1 to 255 bytes; unique within its source.
        now: The present time, from which its age counts.
        content_type: By default that of the kind of body: none for bytes.

    Raises:
        InvalidEventError: An attribute has a wrong form; the message names it.
        TypeError: The body is none of these kinds, or cannot be written as JSON.
    """
    content, usual_type = _content_of(body)
    return DerivedEvent(
        id=require_attribute("id", id),
        source=require_text("source", source),
        type=require_attribute("type", type),
        time=time or now,
        accepted_at=now,
        body=content,
        content_type=usual_type if content_type is None else require_attribute("content_type", content_type),
        subject=None if subject is None else require_text("subject", subject),
        dataschema=None if dataschema is None else require_text("dataschema", dataschema),
        extensions=None if extensions is None else extensions_of(extensions.items()),
        traceparent=traceparent,
        flow=flow,
    )


def derived_id(event_id: str, number: int) -> str:
    """Return the id of the n-th event that is derived from another: the same on every repetition.

    It is `ID/N`. If that is longer than an id may be, a hash of it takes its place.
    """
    plain = f"{event_id}/{number}"
    return plain if len(plain.encode()) <= ATTRIBUTE_MAX_BYTES else hashlib.sha256(plain.encode()).hexdigest()


def _content_of(body: Body) -> tuple[bytes, str | None]:
    match body:
        case bytes():
            return body, None
        case str():
            return body.encode(), TEXT
        case Mapping() | list():
            return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), JSON
        case _:
            raise TypeError(f"a body is bytes, a text, or an object or a list for JSON, and not {type(body).__name__}")
