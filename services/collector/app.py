"""The public HTTP application."""

from aiohttp import web
from aiohttp.typedefs import Handler

from collector.problem import SERVER, problem_response
from collector.routes import Ingest
from collector.tracing import traces
from eventflow.telemetry.tracing import Tracer


def create_app(ingest: Ingest, tracer: Tracer) -> web.Application:
    """Build the application: two routes, and problem answers for everything else."""
    app = web.Application(middlewares=[traces(tracer), problems])
    app.add_routes([web.post("/events", ingest.receive), web.post("/events/{flow}", ingest.receive)])
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


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER
