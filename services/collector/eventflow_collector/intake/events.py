"""The events in the body of a request, all of them or none. Pure.

A body is opaque unless its content type, or the flow's sender, determines its form.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Any, assert_never

from eventflow.errors import EventFlowError, InvalidEventError
from eventflow.event import Event, new_event_id, require_attribute
from eventflow.forwarded import Forwarded
from eventflow_collector import strict_json
from eventflow_collector.intake.attributes import batch_id, content_type_of, element_id, event_of, traceparent_of
from eventflow_collector.intake.cloudevents import structured_event
from eventflow_collector.intake.flow import Flow, Limits
from eventflow_collector.intake.mode import CLOUDEVENT, JSON, Mode
from eventflow_collector.senders.request import Request


class TooLargeError(EventFlowError):
    """A batch has too many events, or one that is too large."""


def read_events(mode: Mode, flow: Flow, request: Request, *, now: datetime) -> Sequence[Event]:
    """Make the events of a request that is accepted now, in order.

    Raises:
        TooLargeError: There are too many, or one is too large.
        InvalidEventError: One of them is not valid; the message names it, with the reason.
    """
    headers, body = request.headers, request.body
    forwarded = None if flow.forwarding is None else flow.forwarding.forwarded_of(headers, request.head.query)
    match mode:
        case Mode.OPAQUE:
            return [event_of(flow.identity, request, flow=flow.name, now=now, forwarded=forwarded)]
        case Mode.STRUCTURED:
            content_type = content_type_of(headers) or CLOUDEVENT
            parsed = strict_json.parse(body)
            return list(_structured([(parsed, body)], headers, now, forwarded, content_type=content_type))
        case Mode.CLOUDEVENTS_BATCH:
            elements = strict_json.elements(body)
            return _within(flow.limits, _structured(elements, headers, now, forwarded, content_type=CLOUDEVENT))
        case Mode.NDJSON:
            return _within(flow.limits, _similar(_lines(body), flow, request, now, forwarded))
        case Mode.JSON_ARRAY:
            bodies = (part for _, part in strict_json.elements(body))
            return _within(flow.limits, _similar(bodies, flow, request, now, forwarded))
        case _:
            assert_never(mode)


def _within(limits: Limits, events: Iterator[Event]) -> Sequence[Event]:
    """Collect a batch within its limits; an error names its event."""
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


def _structured(
    written: Iterable[tuple[Any, bytes]],
    headers: Mapping[str, str],
    now: datetime,
    forwarded: Forwarded | None,
    *,
    content_type: str,
) -> Iterator[Event]:
    """Create the events of CloudEvents in JSON, each parsed and as it was written."""
    traceparent = traceparent_of(headers)
    for value, body in written:
        yield structured_event(
            value, body, content_type=content_type, traceparent=traceparent, now=now, forwarded=forwarded
        )


def _similar(
    bodies: Iterator[bytes], flow: Flow, request: Request, now: datetime, forwarded: Forwarded | None
) -> Iterator[Event]:
    """Create events that share the attributes in the head of a batch. Their ids are the same if it is sent again."""
    identity = flow.identity
    whole = Request(request.head, b"")  # no attribute of one event is an attribute of all
    common = event_of(identity, whole, flow=flow.name, now=now, forwarded=forwarded)
    request_id = batch_id(identity, whole)
    for index, body in enumerate(bodies):
        event, given_id = common, None if request_id is None else require_attribute("its id", f"{request_id}-{index}")
        if identity.reads_elements:
            element = Request(request.head, body)
            event = event_of(identity, element, flow=flow.name, now=now, forwarded=forwarded)
            given_id = element_id(identity, element, given_id)
        event_id = given_id or new_event_id()
        yield replace(event, id=event_id, has_new_id=given_id is None, body=body, content_type=JSON)


def _lines(body: bytes) -> Iterator[bytes]:
    for line in BytesIO(body.removeprefix(strict_json.BOM.encode())):
        if text := line.strip():
            strict_json.parse(text)
            yield text
