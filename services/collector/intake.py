"""From a request's parts to an Event: which id, which attributes. Pure."""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime

from eventflow.errors import InvalidEventError
from eventflow.event import DEFAULT_TYPE, Event, new_event_id, parse_time, require_attribute, utc_now

ID_HEADERS = ("ce-id", "webhook-id", "X-Shopify-Webhook-Id", "X-GitHub-Delivery", "Idempotency-Key")
"""Where a sender says what the event's id is; the first that is there counts."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def read_event(*, flow: str, headers: Mapping[str, str], body: bytes) -> Event:
    """Make the event of a request. The body is not looked into: any bytes are an event.

    Raises:
        InvalidEventError: An attribute that the sender gave cannot travel; the message names its header.
    """
    accepted_at = utc_now()
    return Event(
        id=_first_id(headers),
        source=_attribute(headers, "ce-source") or f"/events/{flow}",
        type=_attribute(headers, "ce-type") or DEFAULT_TYPE,
        time=_time(headers) or accepted_at,
        accepted_at=accepted_at,
        body=body,
        content_type=_attribute(headers, "Content-Type"),
        traceparent=_traceparent(headers),
    )


def is_known_key(given: str | None, keys: tuple[bytes, ...]) -> bool:
    """Whether `given` is one of `keys`, in a time that does not tell which or how much of it."""
    candidate = (given or "").encode(errors="surrogateescape")
    matches = [hmac.compare_digest(candidate, key) for key in keys]
    return any(matches)


def _first_id(headers: Mapping[str, str]) -> str:
    for name in ID_HEADERS:
        if (value := _attribute(headers, name)) is not None:
            return value
    return new_event_id()


def _attribute(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else require_attribute(f"the header {name}", value)


def _time(headers: Mapping[str, str]) -> datetime | None:
    text = headers.get("ce-time")
    if text is None:
        return None
    moment = parse_time(text)
    if moment is None:
        raise InvalidEventError("the header ce-time must be a time of RFC 3339 with an offset")
    return moment


def _traceparent(headers: Mapping[str, str]) -> str | None:
    # W3C Trace Context: a receiver ignores one that it cannot parse.
    value = headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None
