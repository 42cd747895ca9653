"""Event of a request with an opaque body, with the attributes in its headers. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from eventflow.event import DEFAULT_TYPE, Event, is_valid_attribute, new_event_id
from eventflow.forwarded import Forwarded
from eventflow_collector.intake import cloudevents
from eventflow_collector.intake.cloudevents import header_attribute, header_text
from eventflow_collector.senders.identity import Identity, require_id
from eventflow_collector.senders.request import Request

IDEMPOTENCY_KEY = "Idempotency-Key"

_HEADERS = frozenset(name.lower() for name in (*cloudevents.HEADERS, IDEMPOTENCY_KEY))

_NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


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
    given = _given_in(request, identity) if _may_give(headers, identity) else _NOTHING
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
    if value is None or is_valid_attribute(value):
        return value
    media_type = value.partition(";")[0].strip()
    return media_type if is_valid_attribute(media_type) else None


def traceparent_of(headers: Mapping[str, str]) -> str | None:
    """Return the trace context. W3C: a receiver ignores one that it cannot parse."""
    value = headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None


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


def _may_give(headers: Mapping[str, str], identity: Identity) -> bool:
    """Whether a request can give any attribute. Most give none, and to look for each of them costs every event."""
    return identity.reads_more or not _names_of(identity).isdisjoint(map(str.lower, headers))


@lru_cache
def _names_of(identity: Identity) -> frozenset[str]:
    """Return the names, in lower case, of all headers with an attribute."""
    return identity.headers | _HEADERS


def _given_in(request: Request, identity: Identity) -> _Given:
    headers = request.headers
    is_strict = cloudevents.is_declared(headers)
    own = _NOTHING if identity.own is None else _own_in(request, identity.own)
    source = header_text(headers, cloudevents.SOURCE_HEADER, is_strict=is_strict)
    event_type = header_attribute(headers, cloudevents.TYPE_HEADER, is_strict=is_strict)
    # The other attributes are searched for only in a CloudEvent, because the search costs every event of other senders.
    is_cloudevent = is_strict or source is not None or event_type is not None
    subject = header_text(headers, cloudevents.SUBJECT_HEADER, is_strict=is_strict)
    return _Given(
        id=own.id or _sender_id(identity, request) or require_id(headers, IDEMPOTENCY_KEY),
        source=own.source or source or identity.source_of(request),
        type=own.type or event_type or identity.type_of(request),
        time=own.time or cloudevents.header_time(headers, is_strict=is_strict) or identity.time_of(request),
        subject=own.subject or subject or identity.subject_of(request),
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
