"""Connects aiohttp with the collector: each request is routed, passed to its destination, and answered."""

import json
from collections.abc import Awaitable, Callable
from typing import assert_never

from aiohttp import HttpVersion11, web

from eventflow.telemetry.tracing import Tracer
from eventflow_collector import responses
from eventflow_collector.ingest import Ingest
from eventflow_collector.openapi import document
from eventflow_collector.responses import Response
from eventflow_collector.router import ToDescription, ToFlow, route
from eventflow_collector.server.writing import aiohttp_response, response_to
from eventflow_collector.tracing import OnError, traced

CONTINUE = "100-continue"
RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def request_handler(ingest: Ingest, tracer: Tracer, *, on_error: OnError) -> RequestHandler:
    """Return the function that answers every request.

    Args:
        ingest: Takes the requests that bring events.
        tracer: Traces them.
        on_error: Records errors of tracing.
    """
    receive = traced(ingest.receive, tracer, on_error=on_error)
    description = responses.description(json.dumps(document()).encode())

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect") and not await _can_continue(request):
            detail = f"Nothing but {CONTINUE} can be expected."
            return aiohttp_response(responses.problem(417, detail, closes=True))
        match route(request.method, request.rel_url.raw_path):
            case ToFlow(name=name):
                return response_to(request, await receive(request, name))
            case ToDescription():
                return aiohttp_response(description)
            case Response() as error:
                return aiohttp_response(error)
            case routed:
                assert_never(routed)

    return handle


async def _can_continue(request: web.BaseRequest) -> bool:
    """Answer `100 Continue` to a sender that waits for it; return False if it expects anything else."""
    if request.version < HttpVersion11:
        return True  # RFC 9110, 10.1.1: the header is ignored in HTTP/1.0
    if request.headers["Expect"].lower() != CONTINUE:
        return False
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # `handle_error` treats any output as the start of an answer
    return True
