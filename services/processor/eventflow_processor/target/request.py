"""Request of one attempt: the original body or a CloudEvent around it, signed if the settings demand it. Pure."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Final, Literal
from urllib.parse import quote

from multidict import CIMultiDict
from yarl import URL

from eventflow.attribute_template import AttributeTemplate, PathTemplate, path_template_of, template_of
from eventflow.errors import UnsendableEventError
from eventflow.event import Event, format_time
from eventflow.forwarded import Parts
from eventflow.message import Envelope
from eventflow.network.http_proxy import Via
from eventflow.settings.target import TargetSettings
from eventflow.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, signature, signing_key
from eventflow_processor.target.structured import CLOUDEVENT, structured

USER_AGENT = f"event-flow/{version('event-flow')}"
IDEMPOTENCY_KEY = "Idempotency-Key"
PROXY_AUTHORIZATION = "Proxy-Authorization"

SHARED_SOURCE_MAX = 255
"""Characters of the longest source among the shared headers. These are kept for later requests, and senders choose
their sources."""

_UNSAFE_IN_HEADER = re.compile(r"[^!#$&-~]")
"""All but visible ASCII, and of that the quotation mark and the percent sign."""


@dataclass(frozen=True, slots=True, eq=False)
class SharedHeaders:
    """Headers that many requests have in common. It is compared by identity, so that it is a cheap key of a cache."""

    headers: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class TargetRequest:
    """Body and headers of one request. Its fields are final as in `Event`.

    Attributes:
        own: Headers with values that differ from event to event. None of them is among the shared ones.
        shared: All other headers except the chosen ones: usually the same object for all events of a type and a source.
        chosen: Headers whose names a sender has chosen. None of them is among the others.
        path: Path and query, encoded, if they differ from event to event; None if they are those of the target's URL.
    """

    body: Final[bytes]
    own: Final[Mapping[str, str]]
    shared: Final[SharedHeaders]
    chosen: Final[Mapping[str, str] | None] = None
    path: Final[str | None] = None

    @property
    def headers(self) -> Mapping[str, str]:
        """All headers."""
        return {**self.own, **self.shared.headers, **(self.chosen or {})}


STRUCTURED_HEADERS = SharedHeaders({"Content-Type": CLOUDEVENT})


@dataclass(slots=True)
class Bearer:
    """The access token that requests carry now; empty before the first one."""

    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """Parts of a request that only some targets need.

    Attributes:
        path: Path and query with attributes; None if they are the same for each event.
        headers: Headers with attributes. One is left out if the event lacks one of its attributes.
        bearer: The access token; None if the target asks for none.
    """

    path: PathTemplate | None = None
    headers: tuple[tuple[str, AttributeTemplate], ...] = ()
    bearer: Bearer | None = None

    def path_for(self, event: Event) -> str | None:
        """Return path and query of the request for an event; None if they are those of the target's URL.

        Raises:
            UnsendableEventError: There is none for this event.
        """
        return None if self.path is None else self.path.filled(event)

    def headers_for(self, event: Event) -> dict[str, str]:
        """Return the additional headers of the request for an event."""
        headers = {}
        for name, template in self.headers:
            with suppress(UnsendableEventError):
                headers[name] = template.filled(event, header_value)
        if self.bearer is not None:
            headers["Authorization"] = f"Bearer {self.bearer.token}"
        return headers

    @property
    def literals(self) -> tuple[str, ...]:
        """The fixed texts in them, which may be secrets."""
        in_path = () if self.path is None else self.path.literals
        return (*in_path, *(literal for _, template in self.headers for literal in template.literals))


NO_ADDITIONS = Additions()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestForm:
    """Form of the requests to a target.

    Attributes:
        signing_keys: Each creates one signature, so that the target can change its secret.
        path: Path and query of the target's URL.
        settled_names: Names, in lower case, of headers that no sender can set: those of the settings, and those of our
            signatures and access tokens.
        additions: Parts that most targets do not need; None if this one needs none, so that its events pay nothing.
    """

    format: Literal["raw", "cloudevents"] = "raw"
    signing_keys: tuple[bytes, ...] = ()
    path: str = "/"
    settled_names: frozenset[str] = frozenset()
    additions: Additions | None = None

    @property
    def literals(self) -> tuple[str, ...]:
        """The fixed texts in its additions, which may be secrets."""
        return () if self.additions is None else self.additions.literals

    def request_for(self, envelope: Envelope, *, now: datetime) -> TargetRequest:
        """Build the request of an attempt that is made now.

        Raises:
            UnsendableEventError: The URL of the target contains an attribute that the event lacks, or that would change
                more of the URL than its own place.
        """
        event = envelope.event
        event_id = header_value(event.id)
        # The first two identify the delivery, so that the target can drop a duplicate.
        own = {IDEMPOTENCY_KEY: event_id, "eventflow-attempt": str(envelope.attempt)}
        if event.traceparent is not None:
            own["traceparent"] = event.traceparent
        # A structured CloudEvent has no attribute for the encoding of its data.
        is_binary = self.format == "raw" or envelope.content_encoding is not None
        if is_binary:
            body, shared = event.body, _with_attributes(own, envelope, event_id)
        else:
            body, shared = structured(event), STRUCTURED_HEADERS
        if self.signing_keys:
            own |= self._signed(event.id, body, now)
        path = None
        if self.additions is not None:
            own |= self.additions.headers_for(event)
            path = self.additions.path_for(event)
        forwarded = None if event.forwarded is None else event.forwarded.parts
        if forwarded is not None and forwarded.query:
            path = _with_query(path or self.path, forwarded.query)
        extensions = event.extensions if is_binary else None
        chosen = None if forwarded is None and extensions is None else self._chosen(forwarded, extensions)
        return TargetRequest(body=body, own=own, shared=shared, chosen=chosen, path=path)

    def _chosen(self, forwarded: Parts | None, extensions: Mapping[str, str] | None) -> dict[str, str]:
        """Return the headers whose names a sender has chosen, without those that are settled."""
        chosen = {} if forwarded is None else {**forwarded.headers}
        if extensions is not None:
            chosen |= {f"ce-{name}": header_value(value) for name, value in extensions.items()}
        return {name: value for name, value in chosen.items() if name.lower() not in self.settled_names}

    def _signed(self, event_id: str, body: bytes, now: datetime) -> dict[str, str]:
        # Senders choose the ids, and the signed text separates its parts by full stops.
        webhook_id = header_value(event_id).replace(".", "%2E")
        timestamp = str(int(now.timestamp()))
        signatures = [
            signature(key, webhook_id=webhook_id, timestamp=timestamp, body=body) for key in self.signing_keys
        ]
        return {ID_HEADER: webhook_id, TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: " ".join(signatures)}


def request_form(target: TargetSettings, *, flow: str = "", bearer: Bearer | None = None) -> RequestForm:
    """Return the form that a flow's settings demand."""
    path = path_template_of(target.url or "")
    additions = Additions(
        path=None if path is None else path.with_flow(flow),
        headers=tuple((name, template) for name, template in _header_templates(target, flow) if template.names),
        bearer=bearer,
    )
    settled = [
        *target.headers,
        *((ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER) if target.signing_secrets else ()),
        *(() if bearer is None else ("Authorization",)),
    ]
    return RequestForm(
        format=target.format,
        signing_keys=tuple(signing_key(secret.get_secret_value()) for secret in target.signing_secrets),
        path=URL(target.url or "").raw_path_qs,
        settled_names=frozenset(map(str.lower, settled)),
        additions=None if additions == NO_ADDITIONS else additions,
    )


def static_headers(target: TargetSettings, *, flow: str) -> dict[str, str]:
    """Return the headers of a flow's settings that are the same for each event."""
    return {name: template.literals[0] for name, template in _header_templates(target, flow) if not template.names}


def _header_templates(target: TargetSettings, flow: str) -> Iterator[tuple[str, AttributeTemplate]]:
    for name, secret in target.headers.items():
        yield name, template_of(secret.get_secret_value()).with_flow(flow)


def fixed_headers(headers: Mapping[str, str], via: Via | None) -> CIMultiDict[str]:
    """Return the headers that are the same for each request: those of the settings, and ours that they leave out.

    Args:
        headers: Those of the settings.
        via: The proxy. If it reads the requests, they carry its password.
    """
    fixed = CIMultiDict({"Accept": "*/*", "User-Agent": USER_AGENT})
    fixed.update(headers)
    if via is not None and via.reads_requests and via.proxy.authorization is not None:
        fixed[PROXY_AUTHORIZATION] = via.proxy.authorization
    return fixed


def header_value(text: str) -> str:
    """Percent-encode characters that a header cannot carry, by the CloudEvents HTTP binding (section 3.1.3.2)."""
    return _UNSAFE_IN_HEADER.sub(lambda match: quote(match[0], safe=""), text)


def _with_query(path: str, query: str) -> str:
    """Add the query of a sender to the path and query of a target. It cannot change the part before it."""
    return f"{path}{'&' if '?' in path else '?'}{query}"


def _with_attributes(own: dict[str, str], envelope: Envelope, event_id: str) -> SharedHeaders:
    """Describe the body as CloudEvents in binary mode do.

    The attributes that differ from event to event are added to `own`; the others are returned.
    """
    event = envelope.event
    own["ce-id"] = event_id
    own["ce-time"] = format_time(event.time)
    if event.subject is not None:
        own["ce-subject"] = header_value(event.subject)
    if event.dataschema is not None:
        own["ce-dataschema"] = header_value(event.dataschema)
    source: str | None = event.source
    if len(event.source) > SHARED_SOURCE_MAX:
        own["ce-source"], source = header_value(event.source), None
    return _binary_headers(source, event.type, event.content_type, envelope.content_encoding)


@lru_cache(maxsize=1024)
def _binary_headers(
    source: str | None, type_: str, content_type: str | None, content_encoding: str | None
) -> SharedHeaders:
    """Describe the body as CloudEvents in binary mode do, as far as many events have the description in common."""
    headers = {"ce-specversion": "1.0", "ce-type": header_value(type_)}
    if source is not None:
        headers["ce-source"] = header_value(source)
    if content_type is not None:
        headers["Content-Type"] = content_type
    if content_encoding is not None:
        headers["Content-Encoding"] = content_encoding
    return SharedHeaders(headers)
