"""Encoding of an event as an AMQP message, and decoding. Pure; docs/message-contract.md is its reference.

A message is built from an allow-list, and never by copying the properties of another message: a foreign `user_id` or
`expiration` closes the channel, `CC` copies the message into other queues, and the broker may drop a message with an
old `x-death` as a dead-letter cycle.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from eventflow.event import (
    ATTRIBUTE_MAX_BYTES,
    DEFAULT_TYPE,
    TEXT_MAX_BYTES,
    Event,
    format_time,
    is_valid_attribute,
    is_valid_text,
    new_event_id,
    parse_time,
    utc_now,
)
from eventflow.excerpt import EXCERPT_MAX_BYTES, is_excerpt
from eventflow.extensions import extensions_of
from eventflow.forwarded import Forwarded, is_forwarded_text

CLOUDEVENTS: Final = "cloudEvents:"
"""Prefix of every attribute of a CloudEvent, in the names of the AMQP binding."""

ID: Final = f"{CLOUDEVENTS}id"
SOURCE: Final = f"{CLOUDEVENTS}source"
TYPE: Final = f"{CLOUDEVENTS}type"
TIME: Final = f"{CLOUDEVENTS}time"
SUBJECT: Final = f"{CLOUDEVENTS}subject"
DATASCHEMA: Final = f"{CLOUDEVENTS}dataschema"
TRACEPARENT: Final = "traceparent"
ACCEPTED_AT: Final = "eventflow-accepted-at"
FORWARDED: Final = "eventflow-forwarded"
ATTEMPT: Final = "eventflow-attempt"
REASON: Final = "eventflow-reason"
DETAIL: Final = "eventflow-detail"
TEXT: Final = "eventflow-text"
LAST_STATUS: Final = "eventflow-last-status"
FIRST_FAILED_AT: Final = "eventflow-first-failed-at"
LAST_FAILED_AT: Final = "eventflow-last-failed-at"
LAST_TRACEPARENT: Final = "eventflow-last-traceparent"

FOREIGN_SOURCE: Final = "amqp"

_NOT_EXTENSIONS = frozenset(
    {
        *(ID, SOURCE, TYPE, TIME, SUBJECT, DATASCHEMA, TRACEPARENT, ACCEPTED_AT, FORWARDED, ATTEMPT, REASON, DETAIL),
        *(TEXT, LAST_STATUS, FIRST_FAILED_AT, LAST_FAILED_AT, LAST_TRACEPARENT),
    }
)
"""Names of all our headers except extensions, for a quick test whether a message has any."""


@dataclass(slots=True, kw_only=True)
class Message:
    """An AMQP message as it is published, persistent and mandatory, to one queue. Its fields are final as in `Event`.

    Attributes:
        headers: Our headers only. Each value is a text of limited length, or an integer.
        message_id: Fresh for every publish. If two unconfirmed publishes had the same id, the return of one could be
            taken for the other's, and the returned message would look acked.
    """

    body: Final[bytes]
    headers: Final[Mapping[str, str | int]]
    content_type: Final[str | None] = None
    content_encoding: Final[str | None] = None
    message_id: Final[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The reason for which an event has not reached its target yet.

    Attributes:
        reason: A word of a fixed set, as in the metrics.
        status: The last HTTP status of the target; None if there was no answer.
        first_at: Time of the first failure.
        last_at: Time of the last failure.
        detail: The cause of a failed connection, a word of `network.failure.MEANINGS`; None if the connection did not
            fail, and in messages of 0.1.0.
        text: The words of the target or of the network, an `excerpt_of`: the beginning of the answer's body, or the
            message of an error; None if there are none, and in messages of older versions.
        traceparent: Trace context of the last attempt; None if its trace is not recorded.
    """

    reason: str
    status: int | None
    first_at: datetime
    last_at: datetime
    detail: str | None = None
    text: str | None = None
    traceparent: str | None = None


@dataclass(slots=True, kw_only=True)
class Envelope:
    """An event, and the state of its delivery. Its fields are final as in `Event`.

    Attributes:
        attempt: Number of the next attempt, from 1. In a dead letter: number of attempts that were made.
        failure: The failures so far; None if there was none.
        content_encoding: The AMQP property of a foreign message, passed on with the body that it describes.
    """

    event: Final[Event]
    attempt: Final[int] = 1
    failure: Final[Failure | None] = None
    content_encoding: Final[str | None] = None


def encode(envelope: Envelope, *, traceparent: str | None = None) -> Message:
    """Build the message that carries `envelope`, with a fresh `message_id`.

    Args:
        envelope: The event and the state of its delivery.
        traceparent: Trace context to use instead of the event's own.
    """
    event = envelope.event
    accepted_at = format_time(event.accepted_at)
    headers: dict[str, str | int] = {
        ID: event.id,
        SOURCE: event.source,
        TYPE: event.type,
        TIME: accepted_at if event.time is event.accepted_at else format_time(event.time),
        ACCEPTED_AT: accepted_at,
    }
    if event.subject is not None:
        headers[SUBJECT] = event.subject
    if event.dataschema is not None:
        headers[DATASCHEMA] = event.dataschema
    if event.extensions is not None:
        headers |= {CLOUDEVENTS + name: value for name, value in event.extensions.items()}
    if event.forwarded is not None:
        headers[FORWARDED] = event.forwarded.text
    if (continued := traceparent or event.traceparent) is not None:
        headers[TRACEPARENT] = continued
    if envelope.attempt > 1 or envelope.failure is not None:
        headers[ATTEMPT] = envelope.attempt
    if envelope.failure is not None:
        headers |= _headers_of(envelope.failure)
    return Message(
        body=event.body,
        headers=headers,
        content_type=event.content_type,
        content_encoding=envelope.content_encoding,
        message_id=new_message_id(),
    )


def decode(
    *,
    body: bytes,
    headers: Mapping[str, Any],
    message_id: str | None,
    content_type: str | None,
    content_encoding: str | None,
    timestamp: datetime | None = None,
) -> Envelope:
    """Read a delivered message, ours or foreign. Never fails.

    Every message in our queues is an event, whichever client has published it. So a property that is missing or invalid
    is replaced by a default. A foreign message without a valid `message_id` gets a new id, which all its copies keep.
    """
    accepted_at = _time(headers, ACCEPTED_AT) or timestamp or utc_now()
    return Envelope(
        event=Event(
            id=_text(headers.get(ID)) or _text(message_id) or new_event_id(),
            source=_long_text(headers.get(SOURCE)) or FOREIGN_SOURCE,
            type=_text(headers.get(TYPE)) or DEFAULT_TYPE,
            time=_event_time(headers, accepted_at),
            accepted_at=accepted_at,
            body=body,
            content_type=_text(content_type),
            subject=_long_text(headers.get(SUBJECT)),
            traceparent=_text(headers.get(TRACEPARENT)),
            dataschema=_long_text(headers.get(DATASCHEMA)),
            extensions=None if headers.keys() <= _NOT_EXTENSIONS else _extensions(headers),
            forwarded=_forwarded(headers.get(FORWARDED)),
        ),
        attempt=_count(headers.get(ATTEMPT)) or 1,
        failure=_failure(headers),
        content_encoding=_text(content_encoding),
    )


def new_message_id() -> str:
    """Make the id of one publish."""
    return random.randbytes(16).hex()  # noqa: S311 - no secret


def restarted(envelope: Envelope) -> Envelope:
    """Return a dead letter as an event without attempts."""
    return replace(envelope, attempt=1, failure=None)


def _headers_of(failure: Failure) -> dict[str, str | int]:
    headers: dict[str, str | int] = {
        REASON: failure.reason,
        FIRST_FAILED_AT: format_time(failure.first_at),
        LAST_FAILED_AT: format_time(failure.last_at),
    }
    if failure.detail is not None:
        headers[DETAIL] = failure.detail
    if failure.text is not None:
        headers[TEXT] = failure.text
    if failure.status is not None:
        headers[LAST_STATUS] = failure.status
    if failure.traceparent is not None:
        headers[LAST_TRACEPARENT] = failure.traceparent
    return headers


def _failure(headers: Mapping[str, Any]) -> Failure | None:
    if REASON not in headers:
        return None
    reason, first_at, last_at = (
        _text(headers.get(REASON)),
        _time(headers, FIRST_FAILED_AT),
        _time(headers, LAST_FAILED_AT),
    )
    if reason is None or first_at is None or last_at is None:
        return None
    return Failure(
        reason=reason,
        status=_count(headers.get(LAST_STATUS)),
        first_at=first_at,
        last_at=last_at,
        detail=_text(headers.get(DETAIL)),
        text=_excerpt(headers.get(TEXT)),
        traceparent=_text(headers.get(LAST_TRACEPARENT)),
    )


def _event_time(headers: Mapping[str, Any], accepted_at: datetime) -> datetime:
    time, accepted = headers.get(TIME), headers.get(ACCEPTED_AT)
    if isinstance(time, str) and time == accepted:  # true of most events, and saves parsing it twice
        return accepted_at
    return _time(headers, TIME) or accepted_at


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value[: ATTRIBUTE_MAX_BYTES + 1].decode(errors="replace")
    return value if isinstance(value, str) and is_valid_attribute(value) else None


def _long_text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value[: TEXT_MAX_BYTES + 1].decode(errors="replace")
    return value if isinstance(value, str) and is_valid_text(value) else None


def _extensions(headers: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return the extensions; names of the core, and names that CloudEvents does not allow, are none."""
    return extensions_of(
        (name.removeprefix(CLOUDEVENTS), value) for name, value in headers.items() if name.startswith(CLOUDEVENTS)
    )


def _forwarded(value: object) -> Forwarded | None:
    return Forwarded(value) if isinstance(value, str) and is_forwarded_text(value) else None


def _excerpt(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value[: EXCERPT_MAX_BYTES + 1].decode(errors="replace")
    return value if isinstance(value, str) and is_excerpt(value) else None


def _time(headers: Mapping[str, Any], name: str) -> datetime | None:
    value = headers.get(name)
    return parse_time(value) if isinstance(value, str) else None


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31  # an AMQP long
    return value if is_count and isinstance(value, int) else None
