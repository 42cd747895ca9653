"""The public HTTP application."""

import json

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from collector.openapi import document
from collector.problem import SERVER, problem_response
from collector.routes import Ingest


def create_app(ingest: Ingest) -> web.Application:
    """Build the application: where events come in, its description, and problem answers for everything else."""
    app = web.Application(middlewares=[problems])
    description = json.dumps(document()).encode()

    async def describe(_: web.Request) -> web.Response:
        return web.Response(body=description, content_type="application/json")

    app.add_routes(
        [
            web.post("/events", ingest.receive, expect_handler=expect),
            web.post("/events/{flow}", ingest.receive, expect_handler=expect),
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


async def expect(request: web.Request) -> web.Response | None:
    """Let a body come that waits for our word (RFC 9110, section 10.1.1); nothing else can be expected of us."""
    if request.version < HttpVersion11:
        return None
    if request.headers["Expect"].lower() != "100-continue":
        response = problem_response(417, "Nothing but 100-continue can be expected.")
        response.force_close()
        return response
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER
