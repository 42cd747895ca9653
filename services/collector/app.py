"""The public HTTP application."""

import json
from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, web

from collector.openapi import document
from collector.problem import SERVER_HEADER, problem_response
from collector.routes import Ingest
from collector.tracing import traced
from eventflow.telemetry.tracing import Tracer

CONTINUE = "100-continue"
RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def create_app(ingest: Ingest, tracer: Tracer) -> web.Application:
    """Build the application: where events come in, and its description. No middlewares: each costs every event."""
    app = web.Application()
    description = json.dumps(document()).encode()

    async def describe(_: web.Request) -> web.Response:
        return web.Response(body=description, content_type="application/json", headers=SERVER_HEADER)

    receive = traced(ingest.receive, tracer)
    app.add_routes(
        [
            web.post("/events", receive),
            web.post("/events/{flow}", receive),
            web.get("/openapi.json", describe),
        ]
    )
    return app


def answering_problems(handler: RequestHandler) -> RequestHandler:
    """Answer problems in place of aiohttp's own answers: to paths and methods that are none, and to expectations.

    Its answer to an expectation quotes the header, and fails where that is no text.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", CONTINUE).lower() != CONTINUE and request.version >= HttpVersion11:
            response = problem_response(417, f"Nothing but {CONTINUE} can be expected.")
        else:
            try:
                return await handler(request)
            except web.HTTPException as error:
                response = problem_response(error.status, f"{request.method} is not served at this path.")
                if "Allow" in error.headers:
                    response.headers["Allow"] = error.headers["Allow"]
        response.force_close()
        return response

    return handle
