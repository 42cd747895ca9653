"""Traces by the OpenTelemetry SDK, exported over OTLP/HTTP by a thread of its own, in batches."""

import asyncio
import threading
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes as SdkAttributes

from eventflow.telemetry.tracing import NO_ATTRIBUTES, UNRECORDED, Attributes, Kind, Span

CLOSE_MAX_S = 3.0
"""A collector that does not answer must not hold up a stop; the library would go on for half a minute."""

_TRACEPARENT = "traceparent"
_TRACEPARENT_CHARACTERS = 55
_NOWHERE = Context()
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
        asked_for = TracerProvider(shutdown_on_exit=False).sampler  # the SDK's own reading of the variables
        self._roots = _Roots(asked_for)
        self._provider = TracerProvider(
            sampler=self._roots,
            id_generator=self._roots,
            resource=Resource.create({SERVICE_NAME: service, SERVICE_VERSION: release}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("eventflow", release)
        self._follows_parent = isinstance(asked_for, ParentBased)

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
        if parent is not None and self._follows_parent and _is_unsampled(parent):
            return UNRECORDED  # what the sampler would say, without asking it
        links = () if linked is None else _links_to(linked)
        if parent is None and (unrecorded := self._roots.unrecorded(name, _KINDS[kind], attributes, links)):
            return _Unsampled(unrecorded)
        span = self._tracer.start_span(
            name,
            context=_NOWHERE if parent is None else _context_of(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            links=links,
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


class _Roots(RandomIdGenerator, Sampler):
    """Asks the sampler about a new trace before the SDK makes a span of it: what is not recorded needs none.

    Most events' traces are not, and the SDK takes four times as long to find out.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._next_id = 0
        self._next_result: SamplingResult | None = None

    def unrecorded(
        self, name: str, kind: trace.SpanKind, attributes: Attributes, links: Sequence[trace.Link]
    ) -> str | None:
        """Return the context of a new trace that is not recorded; None where it is: start its span at once then."""
        self._next_id = super().generate_trace_id()
        result = self._sampler.should_sample(_NOWHERE, self._next_id, name, kind, attributes, links)
        if result.decision is Decision.DROP:
            return f"00-{self._next_id:032x}-{self.generate_span_id():016x}-{trace.TraceFlags.RANDOM_TRACE_ID:02x}"
        self._next_result = result
        return None

    def generate_trace_id(self) -> int:
        """Return the id that was chosen, if one was."""
        return super().generate_trace_id() if self._next_result is None else self._next_id

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: trace.SpanKind | None = None,
        attributes: SdkAttributes = None,
        links: Sequence[trace.Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> SamplingResult:
        """Say again what the sampler has said of this trace, or ask it."""
        known, self._next_result = self._next_result, None
        if known is not None and trace_id == self._next_id:
            return known
        return self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Describe the sampler."""
        return self._sampler.get_description()


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
