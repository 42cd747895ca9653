"""The public HTTP application."""

import json
from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from collector.openapi import document
from collector.problem import SERVER, problem_response
from collector.routes import Ingest
from collector.tracing import traces
from eventflow.telemetry.tracing import Tracer

CONTINUE = "100-continue"
RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def create_app(ingest: Ingest, tracer: Tracer) -> web.Application:
    """Build the application: where events come in, its description, and problem answers for everything else."""
    app = web.Application(middlewares=[traces(tracer), problems])
    description = json.dumps(document()).encode()

    async def describe(_: web.Request) -> web.Response:
        return web.Response(body=description, content_type="application/json")

    app.add_routes(
        [
            web.post("/events", ingest.receive),
            web.post("/events/{flow}", ingest.receive),
            web.get("/openapi.json", describe),
        ]
    )
    app.on_response_prepare.append(_name_server)
    return app


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn the router's own answers (404, 405) into problem answers."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = problem_response(error.status, f"{request.method} is not served at this path.")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        response.force_close()
        return response


def refusing_expectations(handler: RequestHandler) -> RequestHandler:
    """Answer 417 where something else than `100-continue` is expected, before aiohttp does.

    Its own answer quotes the header, and fails where that is no text.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        expectation = request.headers.get("Expect", CONTINUE)
        if expectation.lower() == CONTINUE or request.version < HttpVersion11:
            return await handler(request)
        response = problem_response(417, f"Nothing but {CONTINUE} can be expected.")
        response.headers["Server"] = SERVER
        response.force_close()
        return response

    return handle


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER
