"""What the headers of a request say about its event: CloudEvents first, then what the known senders call it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from eventflow.errors import InvalidEventError
from eventflow.event import DEFAULT_TYPE, Event, new_event_id, parse_time, require_attribute, utc_now

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

    Raises:
        InvalidEventError: An attribute that the sender gave cannot travel; the message names its header.
    """
    _require_whole_cloudevent(headers)
    accepted_at = utc_now()
    return Event(
        id=_id(headers, stated),
        source=_cloudevents(headers, "ce-source") or _source(headers) or f"/events/{flow}",
        type=_cloudevents(headers, "ce-type") or _type(headers, body, stated),
        time=_time(headers) or stated.time or accepted_at,
        accepted_at=accepted_at,
        body=body,
        content_type=_attribute(headers, "Content-Type"),
        subject=_cloudevents(headers, "ce-subject"),
        traceparent=traceparent_of(headers),
    )


def batch_id(headers: Mapping[str, str]) -> str | None:
    """Return what names a batch, so that its events have the same ids when it is sent again; None where nothing does.

    Raises:
        InvalidEventError: It cannot travel.
    """
    return _attribute(headers, IDEMPOTENCY_KEY) or _senders_id(headers)


def traceparent_of(headers: Mapping[str, str]) -> str | None:
    """Return the trace context. W3C: a receiver ignores one that it cannot parse."""
    value = headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None


def moment_of(seconds: object) -> datetime | None:
    """Return the moment of whole seconds since 1970, as a number or its digits; None for anything else."""
    text = str(seconds) if isinstance(seconds, int | str) and not isinstance(seconds, bool) else ""
    return datetime.fromtimestamp(int(text), UTC) if _SECONDS.fullmatch(text) else None


def _id(headers: Mapping[str, str], stated: Stated) -> str:
    if stated.id is not None and not any(name in headers for name in ID_HEADERS):
        return require_attribute("the body's id", stated.id)
    return _senders_id(headers) or new_event_id()


def _senders_id(headers: Mapping[str, str]) -> str | None:
    for name in ID_HEADERS:
        if name in headers:
            return _cloudevents(headers, name) if name == CE_ID else _attribute(headers, name)
    return _attribute(headers, IDEMPOTENCY_KEY)


def _type(headers: Mapping[str, str], body: bytes, stated: Stated) -> str:
    if (event := _attribute(headers, "X-GitHub-Event")) is not None:
        action = _GITHUB_ACTION.match(body)
        return event if action is None else require_attribute("the event's type", f"{event}.{action[1].decode()}")
    if (topic := _attribute(headers, "X-Shopify-Topic")) is not None:
        return topic
    return DEFAULT_TYPE if stated.type is None else require_attribute("the body's type", stated.type)


def _source(headers: Mapping[str, str]) -> str | None:
    if (shop := _attribute(headers, "X-Shopify-Shop-Domain")) is not None:
        return shop
    kind = _attribute(headers, "X-GitHub-Hook-Installation-Target-Type")
    number = _attribute(headers, "X-GitHub-Hook-Installation-Target-ID")
    return None if kind is None or number is None else require_attribute("the event's source", f"{kind}/{number}")


def _time(headers: Mapping[str, str]) -> datetime | None:
    text = _cloudevents(headers, "ce-time")
    if text is None:  # what the other senders say is taken where it can be read
        return parse_time(headers.get("X-Shopify-Triggered-At", "")) or moment_of(headers.get("webhook-timestamp"))
    moment = parse_time(text)
    if moment is None:
        raise InvalidEventError("the header ce-time must be a time of RFC 3339 with an offset")
    return moment


def _require_whole_cloudevent(headers: Mapping[str, str]) -> None:
    """Check a request that says it is a CloudEvent in binary mode. Lone `ce-` headers are taken for what they say."""
    version = headers.get(CE_VERSION)
    if version is None:
        return
    if version != SPEC_VERSION:
        raise InvalidEventError(f"the header {CE_VERSION} must be {SPEC_VERSION}")
    for name in (CE_ID, "ce-source", "ce-type"):
        if name not in headers:
            raise InvalidEventError(f"the header {name} is missing")


def _attribute(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else require_attribute(f"the header {name}", value)


def _cloudevents(headers: Mapping[str, str], name: str) -> str | None:
    """Return an attribute as section 3.1.3.2 of the CloudEvents HTTP binding has it in a header."""
    value = headers.get(name)
    if value is None:
        return None
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _QUOTED_PAIR.sub(r"\1", value[1:-1])
    if "%" in value:
        try:
            value = unquote(value, errors="strict")
        except UnicodeDecodeError as error:
            raise InvalidEventError(f"the header {name} must be percent-encoded UTF-8") from error
    return require_attribute(f"the header {name}", value)
