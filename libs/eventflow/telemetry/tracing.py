"""Traces: the port that the services use.

Each event has one trace, from the request that brought it to its last attempt (ADR 11). A span gets its parent as a W3C
`traceparent`, never from the surrounding task, because an event passes through queues between its spans.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

from typing_extensions import override

from eventflow.event import Event

Kind = Literal["server", "producer", "consumer", "client", "internal"]
Attributes = Mapping[str, str | int | float | bool]

NO_ATTRIBUTES: Attributes = {}


class Span(Protocol):
    """One operation on an event, from its start to `end`."""

    __slots__ = ()

    @property
    def traceparent(self) -> str | None:
        """The context to pass on to the next service; None means to pass on the one that the event has already."""
        ...

    @property
    def trace_id(self) -> str | None:
        """The id of the trace, in hex; None if it is not recorded, because it could not be found then."""
        ...

    def child(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        attributes: Attributes = NO_ATTRIBUTES,
        started_at_ns: int | None = None,
    ) -> "Span":
        """Start an operation that is a part of this one; `started_at_ns` is Unix time, by default now."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Add attributes that are known only after the start."""
        ...

    def end(self, *, error: str | None = None, at_ns: int | None = None) -> None:
        """End the operation, with success or with an error, which is a word of a small set."""
        ...


class Tracer(Protocol):
    """Starts spans that have no parent in this process."""

    def start(
        self,
        name: str,
        *,
        kind: Kind,
        parent: str | None,
        linked: str | None = None,
        attributes: Attributes = NO_ATTRIBUTES,
        started_at_ns: int | None = None,
    ) -> Span:
        """Start a span.

        Args:
            parent: The `traceparent` to continue; None, or one that is not valid, begins a trace.
            name: The name of the operation.
            kind: Its role, as OpenTelemetry defines it.
            linked: The `traceparent` of an earlier span that caused this one.
            attributes: Attributes that are known at the start.
            started_at_ns: Unix time; by default now.
        """
        ...

    def ignores(self, parent: str) -> bool:
        """Whether nothing is recorded below this `traceparent`, so that no span needs to be started."""
        ...

    async def close(self) -> None:
        """Export the spans that are left, within a few seconds."""
        ...


class Unrecorded(Span):
    """A span that is not recorded. It has no state, so one instance serves all."""

    __slots__ = ()

    traceparent: str | None = None
    trace_id: str | None = None

    @override
    def child(self, *_: object, **__: object) -> "Unrecorded":
        return self

    @override
    def note(self, attributes: Attributes) -> None:
        pass

    @override
    def end(self, **_: object) -> None:
        pass


UNRECORDED = Unrecorded()


@contextmanager
def ending(span: Span) -> Iterator[Span]:
    """End a span at the end of the block, with the error if one ends the block."""
    try:
        yield span
    except BaseException as error:
        span.end(error=type(error).__name__)
        raise
    span.end()


def attributes_of(event: Event) -> dict[str, str | int]:
    """Return the attributes of an event, as OpenTelemetry's conventions for CloudEvents name them."""
    return {
        "cloudevents.event_id": event.id,
        "cloudevents.event_source": event.source,
        "cloudevents.event_type": event.type,
    }


def messaging_attributes(operation: Literal["publish", "receive", "process"], queue: str) -> Attributes:
    """Return the attributes of an operation on a queue, as OpenTelemetry's conventions for messaging name them."""
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": "send" if operation == "publish" else operation,
        "messaging.destination.name": queue,
        "messaging.rabbitmq.destination.routing_key": queue,
    }


def exemplar_of(span: Span) -> dict[str, str] | None:
    """Return the exemplar that links an observation in a histogram to its trace; None if it is not recorded."""
    trace_id = span.trace_id
    return None if trace_id is None else {"trace_id": trace_id}
