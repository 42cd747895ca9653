"""Traces through the OpenTelemetry SDK: its samplers, and its export in batches over OTLP/HTTP, by a thread of its own.

The spans in between are our own classes, because a span of the SDK costs three times as much (ADR 14).
"""

import asyncio
import os
import random
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_BSP_SCHEDULE_DELAY
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from typing_extensions import override

from eventflow import __version__
from eventflow.telemetry.tracing import NO_ATTRIBUTES, UNRECORDED, Attributes, Kind, Span, Tracer
from eventflow.threads import on_daemon_thread

CLOSE_MAX_S = 3.0
"""Longest time that a stop waits for the OTLP endpoint."""

EXPORT_EVERY_MS = 500.0
"""Time between two exports, unless OTEL_BSP_SCHEDULE_DELAY sets another. While the exporter's thread encodes spans, the
event loop hardly gets the interpreter lock, and all events wait. With 1 % of the traces of 4500 events a second this
takes 16 ms every 5 s, which is the SDK's default, and 2 ms every half second."""

_TRACEPARENT = "traceparent"
_TRACEPARENT_CHARACTERS = 55
_TRACE_ID_BITS, _SPAN_ID_BITS = 128, 64
_TRACE_ID_MASK = (1 << _TRACE_ID_BITS) - 1
_SAMPLED_BY_MASK = TraceIdRatioBased.TRACE_ID_LIMIT
_SAMPLED, _RANDOM = TraceFlags.SAMPLED, TraceFlags.RANDOM_TRACE_ID
_UNSAMPLED_FLAGS = f"{_RANDOM:02x}"
_NOWHERE = Context()
_RATIO = re.compile(r"(?:ParentBased\{root:)?TraceIdRatioBased\{([^}]+)\}")
_KINDS = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_propagator = TraceContextTextMapPropagator()


class OtlpTracer(Tracer):
    """Samples and exports as the standard variables `OTEL_*` specify; only `service.name` is fixed."""

    def __init__(self, service: str) -> None:
        """Start the exporting thread."""
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._follows_parent = isinstance(self._sampler, ParentBased)
        self._recorded_below = _bound_of(self._sampler)
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(),
            schedule_delay_millis=None if OTEL_BSP_SCHEDULE_DELAY in os.environ else EXPORT_EVERY_MS,
        )
        self._readable = partial(
            ReadableSpan,
            resource=Resource.create({SERVICE_NAME: service, SERVICE_VERSION: __version__}),
            instrumentation_scope=InstrumentationScope("eventflow", __version__),
        )

    @override
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
        if parent is not None and self.ignores(parent):
            return UNRECORDED
        above = None if parent is None else _context_of(parent)
        bits = random.getrandbits(_SPAN_ID_BITS + _TRACE_ID_BITS)  # no secret
        if above is None and bits & _SAMPLED_BY_MASK >= self._recorded_below:
            # The sampler's answer, without calling it: usually most events are not sampled, and they should cost
            # little.
            digits = f"{bits:048x}"
            return _Unsampled(f"00-{digits[16:]}-{digits[:16]}-{_UNSAMPLED_FLAGS}")
        trace_id = bits & _TRACE_ID_MASK if above is None else above.trace_id
        flags = _RANDOM if above is None else above.trace_flags & _RANDOM
        if self._is_sampled(above, trace_id, name, _KINDS[kind], attributes):
            flags |= _SAMPLED
        context = SpanContext(trace_id, bits >> _TRACE_ID_BITS, is_remote=False, trace_flags=TraceFlags(flags))
        if not flags & _SAMPLED:
            return _Unsampled(_traceparent_of(context))
        return _Recorded(
            self._export,
            name,
            kind=kind,
            context=context,
            parent=above,
            attributes=attributes,
            started_at_ns=started_at_ns,
            links=() if linked is None else _links_to(linked),
        )

    @override
    def ignores(self, parent: str) -> bool:
        return self._follows_parent and _is_unsampled(parent)

    @override
    async def close(self) -> None:
        # The SDK would go on for half a minute, and nothing can interrupt it.
        closed = on_daemon_thread(self._processor.shutdown, name="tracing-close")
        await asyncio.wait({closed}, timeout=CLOSE_MAX_S)

    def _is_sampled(
        self, above: SpanContext | None, trace_id: int, name: str, kind: SpanKind, attributes: Attributes
    ) -> bool:
        around = _NOWHERE if above is None else trace.set_span_in_context(NonRecordingSpan(above), _NOWHERE)
        result = self._sampler.should_sample(around, trace_id, name, kind, attributes)
        return result.decision is Decision.RECORD_AND_SAMPLE

    def _export(self, **ended: Any) -> None:
        self._processor.on_end(self._readable(**ended))


class _Recorded(Span):
    """A span that is exported when it ends: only then it becomes a span of the SDK."""

    __slots__ = ("_attributes", "_context", "_export", "_kind", "_links", "_name", "_parent", "_start_ns")

    def __init__(
        self,
        export: Callable[..., None],
        name: str,
        *,
        kind: Kind,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes,
        started_at_ns: int | None,
        links: tuple[Link, ...] = (),
    ) -> None:
        self._export = export
        self._name = name
        self._kind = _KINDS[kind]
        self._context = context
        self._parent = parent
        self._attributes = dict(attributes)
        self._start_ns = time.time_ns() if started_at_ns is None else started_at_ns
        self._links = links

    @property
    @override
    def traceparent(self) -> str | None:
        return _traceparent_of(self._context)

    @property
    @override
    def trace_id(self) -> str | None:
        return trace.format_trace_id(self._context.trace_id)

    @override
    def child(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        attributes: Attributes = NO_ATTRIBUTES,
        started_at_ns: int | None = None,
    ) -> Span:
        above, span_id = self._context, random.getrandbits(_SPAN_ID_BITS)
        return _Recorded(
            self._export,
            name,
            kind=kind,
            context=SpanContext(above.trace_id, span_id, is_remote=False, trace_flags=above.trace_flags),
            parent=above,
            attributes=attributes,
            started_at_ns=started_at_ns,
        )

    @override
    def note(self, attributes: Attributes) -> None:
        self._attributes.update(attributes)

    @override
    def end(self, *, error: str | None = None, at_ns: int | None = None) -> None:
        if error is not None:
            self._attributes["error.type"] = error
        self._export(
            name=self._name,
            kind=self._kind,
            context=self._context,
            parent=self._parent,
            attributes=self._attributes,
            links=self._links,
            status=_UNSET if error is None else _ERROR,
            start_time=self._start_ns,
            end_time=time.time_ns() if at_ns is None else at_ns,
        )


class _Unsampled(Span):
    """A span that is not recorded. Its `traceparent` passes this decision on to the next service."""

    __slots__ = ("traceparent",)

    trace_id: str | None = None

    def __init__(self, traceparent: str) -> None:
        self.traceparent: str | None = traceparent

    @override
    def child(self, *_: object, **__: object) -> "_Unsampled":
        return self

    @override
    def note(self, attributes: Attributes) -> None:
        pass

    @override
    def end(self, **_: object) -> None:
        pass


def _bound_of(sampler: Sampler) -> int:
    """Return the bound for the low bits of a trace id, from which on the sampler never records.

    Only a sampler by ratio has such a bound. For any other it is above all ids, so that the sampler is always called.
    """
    ratio = _RATIO.match(sampler.get_description())
    return TraceIdRatioBased.get_bound_for_rate(1.0 if ratio is None else float(ratio[1]))


def _traceparent_of(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _context_of(traceparent: str) -> SpanContext | None:
    carried = _propagator.extract({_TRACEPARENT: traceparent}, context=_NOWHERE)
    context = trace.get_current_span(carried).get_span_context()
    return context if context.is_valid else None


def _links_to(traceparent: str) -> tuple[Link, ...]:
    context = _context_of(traceparent)
    return () if context is None else (Link(context),)


def _is_unsampled(traceparent: str) -> bool:
    """Whether a `traceparent` has the right length and its last bit, the sampled flag, is 0."""
    return len(traceparent) == _TRACEPARENT_CHARACTERS and traceparent[-1] in "02468ace"
