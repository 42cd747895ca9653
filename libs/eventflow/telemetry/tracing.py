"""Traces: the port that services speak to.

One trace for each event, from the request that brought it to its last attempt (ADR 11). Spans get their parent as a W3C
`traceparent`, never from the surrounding task: an event's way leads through a queue.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

from eventflow.event import Event

Kind = Literal["server", "producer", "consumer", "client", "internal"]
Attributes = Mapping[str, str | int | float | bool]

NO_ATTRIBUTES: Attributes = {}


class Span(Protocol):
    """One operation on an event's way, from its start to `end`."""

    @property
    def traceparent(self) -> str | None:
        """The context for whoever continues the trace; None: whatever the event carries already."""
        ...

    @property
    def trace_id(self) -> str | None:
        """Names the trace, in hex; None where it is not recorded, so that nobody looks for it."""
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
        """Add what has become known since the start."""
        ...

    def end(self, *, error: str | None = None, at_ns: int | None = None) -> None:
        """End it: well, or of an error, which is a word of a small set."""
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
            linked: The `traceparent` of a span that this one follows from.
            started_at_ns: Unix time; by default now.
        """
        ...

    async def close(self) -> None:
        """Export what is not exported yet, within a few seconds."""
        ...


class Unrecorded:
    """A span that nobody asked for. It has no state, so that one serves all."""

    __slots__ = ()

    traceparent: str | None = None
    trace_id: str | None = None

    def child(self, *_: object, **__: object) -> "Unrecorded":
        """Return itself."""
        return self

    def note(self, _: Attributes) -> None:
        """Forget it."""

    def end(self, **_: object) -> None:
        """Do nothing."""


UNRECORDED = Unrecorded()


@contextmanager
def ending(span: Span) -> Iterator[Span]:
    """End a span with the block: well, or of the error that ends the block."""
    try:
        yield span
    except BaseException as error:
        span.end(error=type(error).__name__)
        raise
    span.end()


def attributes_of(event: Event) -> dict[str, str | int]:
    """Describe an event by the semantic conventions of CloudEvents."""
    return {
        "cloudevents.event_id": event.id,
        "cloudevents.event_source": event.source,
        "cloudevents.event_type": event.type,
    }


def exemplar_of(span: Span) -> dict[str, str] | None:
    """Return what ties an observation to its trace in a histogram."""
    trace_id = span.trace_id
    return None if trace_id is None else {"trace_id": trace_id}
