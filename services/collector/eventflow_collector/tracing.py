"""The collector's part of an event's trace: the request with the event, its publish, and the write to disk."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from structlog.contextvars import bind_contextvars

from eventflow.event import Event
from eventflow.message import TRACEPARENT, Message
from eventflow.telemetry.tracing import UNRECORDED, Attributes, Span, Tracer, attributes_of
from eventflow_collector.responses import Response

_ROUTE = "/events/{flow}"
_REQUEST: Attributes = {"http.request.method": "POST", "http.route": _ROUTE}

Receive = Callable[[web.BaseRequest, str, Span], Awaitable[Response]]
"""Answers a request with events for a flow, in a span."""

OnError = Callable[[Exception], None]
"""Records an error of tracing, which must not reach the request. Never raises."""


def traced(
    receive: Receive, tracer: Tracer, *, on_error: OnError
) -> Callable[[web.BaseRequest, str], Awaitable[Response]]:
    """Return a function that traces each request, in the trace of its sender if the sender has one.

    Guarantee: a request is answered as it would be without a trace, even if the tracer raises.
    """

    async def trace(request: web.BaseRequest, flow: str) -> Response:
        span: Span = UNRECORDED
        try:
            span = tracer.start(
                f"POST {_ROUTE}", kind="server", parent=request.headers.get(TRACEPARENT), attributes=_REQUEST
            )
            trace_id = span.trace_id
            if trace_id is not None:
                bind_contextvars(trace_id=trace_id)  # aiohttp gives each request a context of its own
        except Exception as error:  # noqa: BLE001 - see the guarantee
            span, trace_id = UNRECORDED, None
            on_error(error)
        if trace_id is None:
            return await receive(request, flow, span)
        try:
            response = await receive(request, flow, span)
        except BaseException as error:
            try:
                span.end(error=type(error).__name__)
            except Exception as problem:  # noqa: BLE001 - see the guarantee
                on_error(problem)
            raise
        try:
            _record_end(span, response.status)
        except Exception as problem:  # noqa: BLE001 - see the guarantee
            on_error(problem)
        return response

    return trace


def publishing(request: Span, event: Event, *, queue: str) -> Span:
    """Begin the span of a publish, which ends with its confirm; the processor continues it."""
    if request.trace_id is None:
        return request
    attributes = {**_to_queue(queue), "messaging.message.body.size": len(event.body), **attributes_of(event)}
    return request.child(f"publish {queue}", kind="producer", attributes=attributes)


def publishing_from_spool(tracer: Tracer, message: Message, *, queue: str) -> Span:
    """Begin the span of a publish from the spool, in the trace of its event; no span for an event without one."""
    parent = message.headers.get(TRACEPARENT)
    if not isinstance(parent, str):
        return UNRECORDED
    return tracer.start(f"publish {queue}", kind="producer", parent=parent, attributes=_to_queue(queue))


def _record_end(span: Span, status: int) -> None:
    span.note({"http.response.status_code": status})
    span.end(error=str(status) if status >= 500 else None)  # 4xx are the sender's own


def _to_queue(queue: str) -> Attributes:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": queue,
        "messaging.rabbitmq.destination.routing_key": queue,
    }
