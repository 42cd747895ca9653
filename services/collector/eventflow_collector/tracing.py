"""The collector's part of an event's trace: the request with the event, its publish, and the write to disk."""

from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Any, ParamSpec

from structlog.contextvars import bind_contextvars, reset_contextvars

from eventflow.event import Event
from eventflow.message import TRACEPARENT, Message
from eventflow.telemetry.tracing import UNRECORDED, Attributes, Span, Tracer, attributes_of, messaging_attributes
from eventflow_collector.head import Head

_ROUTE = "/events/{flow}"
_METHODS = ("POST", "PUT", "GET", "HEAD", "OPTIONS", "PATCH", "DELETE")
_REQUESTS: Mapping[str, tuple[str, Attributes]] = {
    method: (f"{method} {_ROUTE}", {"http.request.method": method, "http.route": _ROUTE}) for method in _METHODS
}
_OTHER_REQUEST: tuple[str, Attributes] = (
    f"HTTP {_ROUTE}",
    # As the semantic conventions have it, so that no sender chooses the name of a span or the value of an attribute.
    {"http.request.method": "_OTHER", "http.route": _ROUTE},
)

OnError = Callable[[Exception], None]
"""Records an error of tracing, which must not reach the request. Never raises."""

P = ParamSpec("P")

_Bound = Mapping[str, Token[Any]]
_NOT_BOUND: _Bound = {}


class RequestTraces:
    """Spans of requests with events, each in the trace of its sender if the sender has one.

    Guarantee: nothing here raises, so a request is answered as it would be without a trace.
    """

    def __init__(self, tracer: Tracer, *, on_error: OnError) -> None:
        """Trace with `tracer`; its errors go to `on_error`."""
        self._tracer = tracer
        self._on_error = on_error

    def begin(self, head: Head) -> Span:
        """Begin the span of a request, in the trace of its sender if its headers have one."""
        try:
            name, attributes = _REQUESTS.get(head.method, _OTHER_REQUEST)
            return self._tracer.start(name, kind="server", parent=head.headers.get(TRACEPARENT), attributes=attributes)
        except Exception as error:  # noqa: BLE001 - see the guarantee
            self._on_error(error)
            return UNRECORDED

    def end(self, span: Span, status: int) -> None:
        """End the span of a request that is answered."""
        try:
            if span.trace_id is None:
                return
            span.note({"http.response.status_code": status})
            span.end(error=str(status) if status >= 500 else None)  # 4xx are the sender's own
        except Exception as error:  # noqa: BLE001 - see the guarantee
            self._on_error(error)

    def call(self, span: Span, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a function once. If the span is recorded, the log lines of the function have the id of its trace."""
        bound = self.bind(span)
        try:
            function(*args, **kwargs)
        finally:
            if bound:
                self._unbind(bound)

    def bind(self, span: Span) -> _Bound:
        """Add the id of a recorded trace to all further log lines of this context."""
        try:
            trace_id = span.trace_id
            return _NOT_BOUND if trace_id is None else bind_contextvars(trace_id=trace_id)
        except Exception as error:  # noqa: BLE001 - see the guarantee
            self._on_error(error)
            return _NOT_BOUND

    def _unbind(self, bound: _Bound) -> None:
        try:
            reset_contextvars(**bound)
        except Exception as error:  # noqa: BLE001 - see the guarantee
            self._on_error(error)

    def end_failed(self, span: Span, failure: BaseException) -> None:
        """End the span of a request that an unexpected error, or the end of its connection, has ended."""
        try:
            span.end(error=type(failure).__name__)
        except Exception as error:  # noqa: BLE001 - see the guarantee
            self._on_error(error)


def publishing(request: Span, event: Event, *, queue: str) -> Span:
    """Begin the span of a publish, which ends with its confirm; the processor continues it."""
    if request.trace_id is None:
        return request
    attributes = {
        **messaging_attributes("publish", queue),
        "messaging.message.body.size": len(event.body),
        **attributes_of(event),
    }
    return request.child(f"publish {queue}", kind="producer", attributes=attributes)


def publishing_from_spool(tracer: Tracer, message: Message, *, queue: str) -> Span:
    """Begin the span of a publish from the spool, in the trace of its event; no span for an event without one."""
    parent = message.headers.get(TRACEPARENT)
    if not isinstance(parent, str):
        return UNRECORDED
    attributes = messaging_attributes("publish", queue)
    return tracer.start(f"publish {queue}", kind="producer", parent=parent, attributes=attributes)
