"""Traces by the OpenTelemetry SDK, exported over OTLP/HTTP by a thread of its own, in batches."""

import asyncio
import re
import threading
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from eventflow.telemetry.tracing import NO_ATTRIBUTES, UNRECORDED, Attributes, Kind, Span

CLOSE_MAX_S = 3.0
"""A collector that does not answer must not hold up a stop; the library would go on for half a minute."""

_TRACEPARENT = "traceparent"
_TRACEPARENT_CHARACTERS = 55
_UNSAMPLED_FLAGS = f"{trace.TraceFlags.RANDOM_TRACE_ID:02x}"
_NOWHERE = Context()
_RATIO = re.compile(r"(?:ParentBased\{root:)?TraceIdRatioBased\{([^}]+)\}")
_KINDS = {
    "server": trace.SpanKind.SERVER,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
    "client": trace.SpanKind.CLIENT,
    "internal": trace.SpanKind.INTERNAL,
}
_propagator = TraceContextTextMapPropagator()


class OtlpTracer:
    """Samples, records and exports as the standard variables `OTEL_*` say; `service.name` is ours."""

    def __init__(self, service: str) -> None:
        """Start the exporting thread."""
        release = version("event-flow")
        self._ids = _Ids()
        self._provider = TracerProvider(
            id_generator=self._ids,
            resource=Resource.create({SERVICE_NAME: service, SERVICE_VERSION: release}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("eventflow", release)
        sampler = self._provider.sampler
        self._follows_parent = isinstance(sampler, ParentBased)
        self._recorded_below = _bound_of(sampler)

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
        """Start a span, recorded if the parent is, or else if the sampler says so."""
        # What the sampler would say, without asking it: of most events it says no, and a span costs ten times as much.
        if parent is None:
            trace_id = self._ids.generate_trace_id()
            if trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= self._recorded_below:
                return _Unsampled(f"00-{trace_id:032x}-{self._ids.generate_span_id():016x}-{_UNSAMPLED_FLAGS}")
            self._ids.next_trace_id = trace_id
        elif self._follows_parent and _is_unsampled(parent):
            return UNRECORDED
        span = self._tracer.start_span(
            name,
            context=_NOWHERE if parent is None else _context_of(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            links=() if linked is None else _links_to(linked),
            start_time=started_at_ns,
        )
        return _Recorded(self._tracer, span) if span.is_recording() else _Unsampled(_traceparent_of(span))

    async def close(self) -> None:
        """Export what is not exported yet, for at most 3 s."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            loop.call_soon_threadsafe(closed.set)

        # A daemon, since nothing can end it: the loop's own threads are waited for at the end of the process.
        threading.Thread(target=shut_down, name="tracing-close", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_MAX_S):
                await closed.wait()
        except TimeoutError:
            return


class _Ids(RandomIdGenerator):
    """Lets the id of a trace be known before its first span is started: what was drawn is handed out again, once."""

    next_trace_id: int | None = None

    def generate_trace_id(self) -> int:
        known, self.next_trace_id = self.next_trace_id, None
        return super().generate_trace_id() if known is None else known


class _Recorded:
    """A span of the SDK."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def traceparent(self) -> str | None:
        return _traceparent_of(self._span)

    @property
    def trace_id(self) -> str | None:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def child(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        attributes: Attributes = NO_ATTRIBUTES,
        started_at_ns: int | None = None,
    ) -> Span:
        context = trace.set_span_in_context(self._span, _NOWHERE)
        span = self._tracer.start_span(
            name, context=context, kind=_KINDS[kind], attributes=attributes, start_time=started_at_ns
        )
        return _Recorded(self._tracer, span)

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def end(self, *, error: str | None = None, at_ns: int | None = None) -> None:
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end(end_time=at_ns)


class _Unsampled:
    """The beginning of a trace that is not recorded, which whoever continues it must know."""

    __slots__ = ("traceparent",)

    trace_id: str | None = None

    def __init__(self, traceparent: str) -> None:
        self.traceparent: str | None = traceparent

    def child(self, *_: object, **__: object) -> "_Unsampled":
        return self

    def note(self, _: Attributes) -> None: ...

    def end(self, **_: object) -> None: ...


def _bound_of(sampler: Sampler) -> int:
    """Return the number below which the end of a trace's id must be for the sampler to record it.

    Only one that goes by the id has such a number; of any other it is above all ids, so that all are for it to judge.
    """
    ratio = _RATIO.match(sampler.get_description())
    return TraceIdRatioBased.get_bound_for_rate(1.0 if ratio is None else float(ratio[1]))


def _traceparent_of(span: trace.Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _context_of(traceparent: str) -> Context:
    return _propagator.extract({_TRACEPARENT: traceparent}, context=_NOWHERE)


def _links_to(traceparent: str) -> tuple[trace.Link, ...]:
    context = trace.get_current_span(_context_of(traceparent)).get_span_context()
    return (trace.Link(context),) if context.is_valid else ()


def _is_unsampled(traceparent: str) -> bool:
    """Whether it is well-formed, as far as its length tells, and its last bit is 0."""
    return len(traceparent) == _TRACEPARENT_CHARACTERS and traceparent[-1] in "02468ace"
