"""What the headers of a request say about its event: CloudEvents first, then what the known senders call it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from eventflow.errors import InvalidEventError
from eventflow.event import (
    DEFAULT_TYPE,
    Event,
    is_valid_attribute,
    new_event_id,
    parse_time,
    require_attribute,
    utc_now,
)

CE_VERSION = "ce-specversion"
CE_ID = "ce-id"
IDEMPOTENCY_KEY = "Idempotency-Key"
ID_HEADERS = (CE_ID, "webhook-id", "X-Shopify-Webhook-Id", "X-GitHub-Delivery")
"""Where a sender says what the event's id is; the first that is there counts."""

SPEC_VERSION = "1.0"

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_QUOTED_PAIR = re.compile(r"\\(.)")
_GITHUB_ACTION = re.compile(rb'\s*\{\s*"action"\s*:\s*"([A-Za-z_]{1,64})"')
"""GitHub's bodies begin with it where there is one, so no body is parsed for it."""

_SECONDS = re.compile(r"\d{1,11}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a sender's body says of its event, where the sender has no headers for it. Unchecked."""

    id: str | None = None
    type: str | None = None
    time: datetime | None = None


NOTHING = Stated()


def event_of(*, flow: str, headers: Mapping[str, str], body: bytes, stated: Stated = NOTHING) -> Event:
    """Make the event of a request whose body is any bytes.

    A header that is empty, too long or not printable counts as absent, since the event does without it. Two kinds are
    refused: an id, without which a repeated request would be another event, and what a declared CloudEvent must have.

    Raises:
        InvalidEventError: The message names the header.
    """
    is_declared = _is_declared_cloudevent(headers)
    accepted_at = utc_now()
    return Event(
        id=_id(headers, stated),
        source=_cloudevents(headers, "ce-source", is_strict=is_declared) or _source(headers) or f"/events/{flow}",
        type=_cloudevents(headers, "ce-type", is_strict=is_declared) or _type(headers, body, stated),
        time=_time(headers, is_declared=is_declared) or stated.time or accepted_at,
        accepted_at=accepted_at,
        body=body,
        content_type=content_type_of(headers),
        subject=_cloudevents(headers, "ce-subject", is_strict=is_declared),
        traceparent=traceparent_of(headers),
    )


def batch_id(headers: Mapping[str, str]) -> str | None:
    """Return what names a batch, so that its events have the same ids when it is sent again; None where nothing does.

    Raises:
        InvalidEventError: It cannot travel.
    """
    return _identity(headers, IDEMPOTENCY_KEY) or _senders_id(headers)


def content_type_of(headers: Mapping[str, str]) -> str | None:
    """Return the content type; without its parameters if they do not let it travel; None if nothing is left."""
    value = headers.get("Content-Type")
    if value is None or is_valid_attribute(value):
        return value
    media_type = value.partition(";")[0].strip()
    return media_type if is_valid_attribute(media_type) else None


def traceparent_of(headers: Mapping[str, str]) -> str | None:
    """Return the trace context. W3C: a receiver ignores one that it cannot parse."""
    value = headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None


def moment_of(seconds: object) -> datetime | None:
    """Return the moment of whole seconds since 1970, as a number or its digits; None for anything else."""
    text = str(seconds) if isinstance(seconds, int | str) and not isinstance(seconds, bool) else ""
    return datetime.fromtimestamp(int(text), UTC) if _SECONDS.fullmatch(text) else None


def _id(headers: Mapping[str, str], stated: Stated) -> str:
    if stated.id and not any(headers.get(name, "").strip() for name in ID_HEADERS):
        return require_attribute("the body's id", stated.id)
    return _senders_id(headers) or new_event_id()


def _senders_id(headers: Mapping[str, str]) -> str | None:
    for name in ID_HEADERS:
        if name in headers:
            value = _cloudevents(headers, name, is_strict=True) if name == CE_ID else _identity(headers, name)
            if value is not None:
                return value
    return _identity(headers, IDEMPOTENCY_KEY)


def _type(headers: Mapping[str, str], body: bytes, stated: Stated) -> str:
    if (event := _attribute(headers, "X-GitHub-Event")) is not None:
        action = _GITHUB_ACTION.match(body)
        return event if action is None else _usable(f"{event}.{action[1].decode()}") or event
    if (topic := _attribute(headers, "X-Shopify-Topic")) is not None:
        return topic
    return (stated.type and _usable(stated.type)) or DEFAULT_TYPE


def _source(headers: Mapping[str, str]) -> str | None:
    if (shop := _attribute(headers, "X-Shopify-Shop-Domain")) is not None:
        return shop
    kind = _attribute(headers, "X-GitHub-Hook-Installation-Target-Type")
    number = _attribute(headers, "X-GitHub-Hook-Installation-Target-ID")
    return None if kind is None or number is None else _usable(f"{kind}/{number}")


def _time(headers: Mapping[str, str], *, is_declared: bool) -> datetime | None:
    text = _cloudevents(headers, "ce-time", is_strict=is_declared)
    moment = None if text is None else parse_time(text)
    if moment is not None:
        return moment
    if text is not None and is_declared:
        raise InvalidEventError("the header ce-time must be a time of RFC 3339 with an offset")
    return parse_time(headers.get("X-Shopify-Triggered-At", "")) or moment_of(headers.get("webhook-timestamp"))


def _is_declared_cloudevent(headers: Mapping[str, str]) -> bool:
    """Whether a request says that it is a CloudEvent in binary mode, which it then must be.

    `ce-` headers without a version are taken for what they say.
    """
    version = headers.get(CE_VERSION)
    if not version or version.isspace():
        return False
    if version != SPEC_VERSION:
        raise InvalidEventError(f"the header {CE_VERSION} must be {SPEC_VERSION}")
    for name in (CE_ID, "ce-source", "ce-type"):
        if not headers.get(name, "").strip():
            raise InvalidEventError(f"the header {name} is missing")
    return True


def _usable(value: str) -> str | None:
    return value if is_valid_attribute(value) else None


def _attribute(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else _usable(value)


def _identity(headers: Mapping[str, str], name: str) -> str | None:
    """Return an id; None if it is absent or empty. One that cannot travel is refused, and not replaced by another."""
    value = headers.get(name)
    return None if not value or value.isspace() else require_attribute(f"the header {name}", value)


def _cloudevents(headers: Mapping[str, str], name: str, *, is_strict: bool) -> str | None:
    """Return an attribute as section 3.1.3.2 of the CloudEvents HTTP binding has it in a header.

    An empty one is None, and so is one that cannot be used unless this `is_strict`.
    """
    value = headers.get(name)
    if not value or value.isspace():
        return None
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _QUOTED_PAIR.sub(r"\1", value[1:-1])
    if "%" in value:
        try:
            value = unquote(value, errors="strict")
        except UnicodeDecodeError as error:
            if not is_strict:
                return None
            raise InvalidEventError(f"the header {name} must be percent-encoded UTF-8") from error
    return require_attribute(f"the header {name}", value) if is_strict else _usable(value)
