"""The public HTTP interface: which path leads where.

Three paths need no router, and aiohttp's application with its resolver, match and hooks costs every event.
"""

import json
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from aiohttp import HttpVersion11, web

from eventflow.telemetry.tracing import Tracer
from eventflow.topology import DEFAULT_FLOW
from eventflow_collector.ingest import Ingest
from eventflow_collector.openapi import document
from eventflow_collector.problem import SERVER_HEADER, problem_response
from eventflow_collector.tracing import OnError, traced

EVENTS_PATH = "/events"
DESCRIPTION_PATH = "/openapi.json"

CONTINUE = "100-continue"
RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def routing(ingest: Ingest, tracer: Tracer, *, on_error: OnError) -> RequestHandler:
    """Return what handles every request: events come in at two paths, their description is at a third."""
    receive = traced(ingest.receive, tracer, on_error=on_error)
    description = json.dumps(document()).encode()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect") and not await _is_met(request):
            return _closing(problem_response(417, f"Nothing but {CONTINUE} can be expected."))
        path = request.rel_url.raw_path
        flow = flow_at(path)
        if flow is not None:
            return await receive(request, flow) if request.method == "POST" else _not_served(request, "POST")
        if path != DESCRIPTION_PATH:
            return _closing(problem_response(404, "There is nothing at this path."))
        if request.method not in {"GET", "HEAD"}:
            return _not_served(request, "GET,HEAD")
        return web.Response(body=description, content_type="application/json", headers=SERVER_HEADER)

    return handle


def flow_at(path: str) -> str | None:
    """Return the name of the flow whose events come in at a raw path; None where none do."""
    if path == EVENTS_PATH:
        return DEFAULT_FLOW
    if not path.startswith(f"{EVENTS_PATH}/"):
        return None
    name = path.removeprefix(f"{EVENTS_PATH}/")
    return unquote(name) if name and "/" not in name else None


async def _is_met(request: web.BaseRequest) -> bool:
    """Let a sender go on that waits for it; False where it expects anything else."""
    if request.version < HttpVersion11:
        return True  # RFC 9110, 10.1.1: it did not mean it
    if request.headers["Expect"].lower() != CONTINUE:
        return False
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # no answer has begun
    return True


def _not_served(request: web.BaseRequest, allowed: str) -> web.Response:
    response = problem_response(405, f"{request.method} is not served at this path.")
    response.headers["Allow"] = allowed
    return _closing(response)


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response
