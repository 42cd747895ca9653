"""Event of a request with an opaque body, with the attributes in its headers. Pure."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from eventflow.event import DEFAULT_TYPE, Event, is_valid_attribute, new_event_id, usable_traceparent
from eventflow.forwarded import Forwarded
from eventflow_collector.intake import cloudevents
from eventflow_collector.intake.cloudevents import header_attribute, header_text
from eventflow_collector.intake.mode import TYPES_KEPT_MAX
from eventflow_collector.senders.identity import Identity, require_id
from eventflow_collector.senders.request import Request

IDEMPOTENCY_KEY = "Idempotency-Key"

_CLOUDEVENTS = frozenset(name.lower() for name in cloudevents.HEADERS)

_HEADERS = _CLOUDEVENTS | {IDEMPOTENCY_KEY.lower()}

SHAPES_KEPT_MAX = 256
"""Number of cached sets of headers with an attribute. A sender sends the same set with every request."""

_NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


def event_of(
    identity: Identity, request: Request, *, flow: str, now: datetime, forwarded: Forwarded | None = None
) -> Event:
    """Create the event of a request that is accepted now.

    A header that is empty, too long or not printable counts as absent, because the event does not need it. Two such
    headers are refused instead: an id, because a repeated request would become a second event without it, and an
    attribute that a declared CloudEvent must have.

    Raises:
        InvalidEventError: The message names the header.
    """
    headers = request.headers
    # Most requests give no attribute, or few of the many that are known: a search for each of them costs every event.
    present = _names_of(identity).intersection(map(str.lower, headers))
    given = _given_in(request, identity, present) if present or identity.reads_more else _NOTHING
    return Event(
        id=new_event_id() if given.id is None else given.id,
        source=given.source or f"/events/{flow}",
        type=given.type or DEFAULT_TYPE,
        time=given.time or now,
        accepted_at=now,
        body=request.body,
        content_type=content_type_of(headers),
        subject=given.subject,
        traceparent=traceparent_of(headers),
        has_new_id=given.id is None,
        dataschema=given.dataschema,
        extensions=given.extensions,
        forwarded=forwarded,
    )


def batch_id(identity: Identity, request: Request) -> str | None:
    """Return the id of a batch, so that its events have the same ids when it is sent again; None if it has none.

    Raises:
        InvalidEventError: A message cannot carry it.
    """
    own = None if identity.own is None else identity.own.id_of(request)
    return own or require_id(request.headers, IDEMPOTENCY_KEY) or _sender_id(identity, request)


def element_id(identity: Identity, element: Request, numbered_id: str | None) -> str | None:
    """Return the id of one element of a batch; None if it has none.

    First the pointers that the operator names count, in the element. Then the id of the batch with the element's number
    counts, and then the pointers of the flow's sender.

    Raises:
        InvalidEventError: A message cannot carry it.
    """
    # Without its head, which all elements have: the same id would make all of them one event.
    element = Request(element.head._replace(headers=_NO_HEADERS, query="", sub_path=""), element.body)
    own = None if identity.own is None else identity.own.id_of(element)
    return own or numbered_id or identity.id_of(element)


def content_type_of(headers: Mapping[str, str]) -> str | None:
    """Return the content type, without its parameters if a message cannot carry them; None if it cannot be used."""
    value = headers.get("Content-Type")
    return None if value is None else _usable_type(value)


def traceparent_of(headers: Mapping[str, str]) -> str | None:
    """Return the trace context; None if there is none that can be parsed."""
    return usable_traceparent(headers.get("traceparent"))


@lru_cache(maxsize=TYPES_KEPT_MAX)
def _usable_type(value: str) -> str | None:
    if is_valid_attribute(value):
        return value
    media_type = value.partition(";")[0].strip()
    return media_type if is_valid_attribute(media_type) else None


class _Given(NamedTuple):
    """The attributes that the sender gives."""

    id: str | None = None
    source: str | None = None
    type: str | None = None
    time: datetime | None = None
    subject: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, str] | None = None


_NOTHING = _Given()


@lru_cache
def _names_of(identity: Identity) -> frozenset[str]:
    """Return the names, in lower case, of all headers with an attribute."""
    return identity.headers | _HEADERS


@lru_cache(maxsize=SHAPES_KEPT_MAX)
def _narrowed(identity: Identity, present: frozenset[str]) -> Identity:
    return identity.narrowed(present)


def _given_in(request: Request, identity: Identity, present: frozenset[str]) -> _Given:
    """Return the attributes in a request; `present` are the names, in lower case, of its headers with an attribute."""
    identity = _narrowed(identity, present)
    declared = _NOTHING if _CLOUDEVENTS.isdisjoint(present) else _cloudevent_in(request.headers)
    own = _NOTHING if identity.own is None else _own_in(request, identity.own)
    return _Given(
        id=own.id or _sender_id(identity, request) or require_id(request.headers, IDEMPOTENCY_KEY),
        source=own.source or declared.source or identity.source_of(request),
        type=own.type or declared.type or identity.type_of(request),
        time=own.time or declared.time or identity.time_of(request),
        subject=own.subject or declared.subject or identity.subject_of(request),
        dataschema=declared.dataschema,
        extensions=declared.extensions,
    )


def _cloudevent_in(headers: Mapping[str, str]) -> _Given:
    """Return the attributes of a CloudEvent in headers, except its id."""
    is_strict = cloudevents.is_declared(headers)
    source = header_text(headers, cloudevents.SOURCE_HEADER, is_strict=is_strict)
    event_type = header_attribute(headers, cloudevents.TYPE_HEADER, is_strict=is_strict)
    # Without these, nothing shows that a header of another name that begins alike is an attribute.
    is_cloudevent = is_strict or source is not None or event_type is not None
    return _Given(
        source=source,
        type=event_type,
        time=cloudevents.header_time(headers, is_strict=is_strict),
        subject=header_text(headers, cloudevents.SUBJECT_HEADER, is_strict=is_strict),
        dataschema=header_text(headers, cloudevents.DATASCHEMA_HEADER, is_strict=is_strict) if is_cloudevent else None,
        extensions=cloudevents.header_extensions(headers, is_strict=is_strict) if is_cloudevent else None,
    )


def _own_in(request: Request, own: Identity) -> _Given:
    return _Given(
        id=own.id_of(request),
        source=own.source_of(request),
        type=own.type_of(request),
        time=own.time_of(request),
        subject=own.subject_of(request),
    )


def _sender_id(identity: Identity, request: Request) -> str | None:
    return header_attribute(request.headers, cloudevents.ID_HEADER, is_strict=True) or identity.id_of(request)
