"""The event of a request whose body is any bytes, with the attributes that its headers hold. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime

from eventflow.errors import InvalidEventError
from eventflow.event import DEFAULT_TYPE, Event, is_valid_attribute, new_event_id
from eventflow_collector.intake import cloudevents, strict_json
from eventflow_collector.intake.cloudevents import header_attribute
from eventflow_collector.senders.identity import Identity, require_id

IDEMPOTENCY_KEY = "Idempotency-Key"

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def event_of(identity: Identity, *, flow: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Event:
    """Make the event of a request that is accepted now.

    A header that is empty, too long or not printable counts as absent, since the event does without it. Two kinds are
    refused: an id, without which a repeated request would be another event, and an attribute that a declared CloudEvent
    must have.

    Raises:
        InvalidEventError: The message names the header.
    """
    is_strict = cloudevents.is_declared(headers)
    document = _document(body) if identity.reads_body else None
    return Event(
        id=_id_in_headers(identity, headers)
        or identity.id_in_body(document)
        or require_id(headers, IDEMPOTENCY_KEY)
        or new_event_id(),
        source=header_attribute(headers, cloudevents.SOURCE_HEADER, is_strict=is_strict)
        or identity.source_of(headers, body, document)
        or f"/events/{flow}",
        type=header_attribute(headers, cloudevents.TYPE_HEADER, is_strict=is_strict)
        or identity.type_of(headers, body, document)
        or DEFAULT_TYPE,
        time=cloudevents.header_time(headers, is_strict=is_strict) or identity.time_of(headers, document) or now,
        accepted_at=now,
        body=body,
        content_type=content_type_of(headers),
        subject=header_attribute(headers, cloudevents.SUBJECT_HEADER, is_strict=is_strict),
        traceparent=traceparent_of(headers),
    )


def batch_id(identity: Identity, headers: Mapping[str, str]) -> str | None:
    """Return the id of a batch, so that its events have the same ids when it is sent again; None if it has none.

    Raises:
        InvalidEventError: It cannot travel with the events.
    """
    return require_id(headers, IDEMPOTENCY_KEY) or _id_in_headers(identity, headers)


def content_type_of(headers: Mapping[str, str]) -> str | None:
    """Return the content type; without its parameters if they cannot travel; None if nothing is left."""
    value = headers.get("Content-Type")
    if value is None or is_valid_attribute(value):
        return value
    media_type = value.partition(";")[0].strip()
    return media_type if is_valid_attribute(media_type) else None


def traceparent_of(headers: Mapping[str, str]) -> str | None:
    """Return the trace context. W3C: a receiver ignores one that it cannot parse."""
    value = headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None


def _id_in_headers(identity: Identity, headers: Mapping[str, str]) -> str | None:
    return header_attribute(headers, cloudevents.ID_HEADER, is_strict=True) or identity.id_in_headers(headers)


def _document(body: bytes) -> object:
    """Parse a body for its sender's attributes; None if it is not JSON, and then the event does without them."""
    try:
        return strict_json.parse(body)
    except InvalidEventError:
        return None
