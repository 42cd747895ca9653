"""From a request's parts to its events. Pure.

A body is opaque unless its content type, or the flow's sender, says what is in it.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from io import BytesIO
from typing import Any, assert_never

from eventflow.errors import EventFlowError, InvalidEventError
from eventflow.event import Event, new_event_id, parse_time, require_attribute, utc_now
from eventflow_collector import strict_json
from eventflow_collector.attributes import (
    CE_VERSION,
    NOTHING,
    SPEC_VERSION,
    Stated,
    batch_id,
    content_type_of,
    event_of,
    moment_of,
    traceparent_of,
)

CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENTS_BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"
JSON = "application/json"


class Mode(Enum):
    """How a request carries its events."""

    OPAQUE = auto()
    STRUCTURED = auto()
    CLOUDEVENTS_BATCH = auto()
    NDJSON = auto()
    JSON_ARRAY = auto()

    @property
    def is_batch(self) -> bool:
        """Whether it may carry any number of events."""
        return self is not Mode.OPAQUE and self is not Mode.STRUCTURED


class UnknownModeError(EventFlowError):
    """The content type is none that can be taken this way."""


class TooLargeError(EventFlowError):
    """A batch has too many events, or one that is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a request of a flow may carry."""

    body_bytes: int
    batch_events: int
    batch_bytes: int

    def for_body_of(self, mode: Mode) -> int:
        """Return how many bytes the whole body may have."""
        return self.batch_bytes if mode.is_batch else self.body_bytes


_MODES = {CLOUDEVENT: Mode.STRUCTURED, CLOUDEVENTS_BATCH: Mode.CLOUDEVENTS_BATCH, NDJSON: Mode.NDJSON}


def mode_of(headers: Mapping[str, str], *, batch: str | None) -> Mode:
    """Tell how a request carries its events.

    Args:
        batch: The query parameter `batch`; `1` makes the elements of a JSON array the events.

    Raises:
        UnknownModeError: CloudEvents in a format that is not JSON, or `batch=1` with what is no batch.
        InvalidEventError: `batch` is something else than `1`, and not empty.
    """
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    mode = _MODES.get(media_type, Mode.OPAQUE)
    if mode is Mode.OPAQUE and media_type.startswith("application/cloudevents"):
        raise UnknownModeError("CloudEvents are taken in JSON only")
    if not batch:
        return Mode.OPAQUE if mode is Mode.NDJSON and headers.get(CE_VERSION) else mode  # one event with such data
    if batch != "1":
        raise InvalidEventError("the parameter batch must be 1 where it is given")
    if mode is Mode.OPAQUE and media_type == JSON:
        return Mode.JSON_ARRAY
    if not mode.is_batch:
        raise UnknownModeError(f"a batch is a JSON array under {JSON}, or {NDJSON}, or {CLOUDEVENTS_BATCH}")
    return mode


def read_events(
    mode: Mode, *, flow: str, headers: Mapping[str, str], body: bytes, limits: Limits, is_stripe: bool = False
) -> Sequence[Event]:
    """Make the events of a request, in order; all of them or none.

    Raises:
        TooLargeError: There are too many, or one is too large.
        InvalidEventError: One of them is none; the message says which, and what is wrong with it.
    """
    match mode:
        case Mode.OPAQUE:
            stated = _stripes_statement(body) if is_stripe else NOTHING
            return [event_of(flow=flow, headers=headers, body=body, stated=stated)]
        case Mode.STRUCTURED:
            content_type = content_type_of(headers) or CLOUDEVENT
            return [_cloudevent(strict_json.parse(body), body, headers, content_type=content_type)]
        case Mode.CLOUDEVENTS_BATCH:
            parts = strict_json.elements(body)
            events = (_cloudevent(value, part, headers, content_type=CLOUDEVENT) for value, part in parts)
            return _within(limits, events)
        case Mode.NDJSON:
            return _within(limits, _alike(_lines(body), flow, headers))
        case Mode.JSON_ARRAY:
            return _within(limits, _alike((part for _, part in strict_json.elements(body)), flow, headers))
        case _:
            assert_never(mode)


def is_known_key(given: str | None, keys: tuple[bytes, ...]) -> bool:
    """Whether `given` is one of `keys`, in a time that does not tell which or how much of it."""
    candidate = (given or "").encode(errors="surrogateescape")
    matches = [hmac.compare_digest(candidate, key) for key in keys]
    return any(matches)


def _within(limits: Limits, events: Iterator[Event]) -> Sequence[Event]:
    """Collect a batch as far as the limits allow; say of which event an error is."""
    batch: list[Event] = []
    while True:
        try:
            event = next(events, None)
        except InvalidEventError as error:
            raise InvalidEventError(f"event {len(batch)} of the batch: {error}") from error
        if event is None:
            return batch
        if len(batch) == limits.batch_events:
            raise TooLargeError(f"a batch may have at most {limits.batch_events} events")
        if len(event.body) > limits.body_bytes:
            raise TooLargeError(f"event {len(batch)} of the batch has more than {limits.body_bytes} bytes")
        batch.append(event)


def _alike(bodies: Iterator[bytes], flow: str, headers: Mapping[str, str]) -> Iterator[Event]:
    """Make events that differ in their bodies and ids alone. The ids are the same when the batch is sent again."""
    common = event_of(flow=flow, headers=headers, body=b"")
    request_id = batch_id(headers)
    for index, body in enumerate(bodies):
        event_id = new_event_id() if request_id is None else require_attribute("its id", f"{request_id}-{index}")
        yield replace(common, id=event_id, body=body, content_type=JSON)


def _lines(body: bytes) -> Iterator[bytes]:
    for line in BytesIO(body):
        if text := line.strip():
            strict_json.parse(text)
            yield text


def _cloudevent(value: Any, body: bytes, headers: Mapping[str, str], *, content_type: str) -> Event:
    """Make the event of a CloudEvent in JSON; its body is the whole of it, as it was written."""
    if not isinstance(value, dict):
        raise InvalidEventError("a CloudEvent is a JSON object")
    if value.get("specversion") != SPEC_VERSION:
        raise InvalidEventError(f"specversion must be {SPEC_VERSION!r}")
    accepted_at = utc_now()
    return Event(
        id=_required(value, "id"),
        source=_required(value, "source"),
        type=_required(value, "type"),
        time=_time(value) or accepted_at,
        accepted_at=accepted_at,
        body=body,
        content_type=content_type,
        subject=_member(value, "subject"),
        traceparent=traceparent_of(headers),
    )


def _required(value: dict[str, Any], name: str) -> str:
    member = _member(value, name)
    if member is None:
        raise InvalidEventError(f"{name} is missing")
    return member


def _member(value: dict[str, Any], name: str) -> str | None:
    member = value.get(name)
    if member is None:
        return None
    if not isinstance(member, str):
        raise InvalidEventError(f"{name} must be a string")
    return require_attribute(name, member)


def _time(value: dict[str, Any]) -> datetime | None:
    text = _member(value, "time")
    if text is None:
        return None
    moment = parse_time(text)
    if moment is None:
        raise InvalidEventError("time must be a time of RFC 3339 with an offset")
    return moment


def _stripes_statement(body: bytes) -> Stated:
    """Return what Stripe says in its body, since it says it nowhere else; nothing where the body is none of its."""
    try:
        value = strict_json.parse(body)
    except InvalidEventError:
        return NOTHING
    match value:
        case {"id": str(event_id), "type": str(kind), **rest}:
            return Stated(id=event_id, type=kind, time=moment_of(rest.get("created")))
        case _:
            return NOTHING
