"""The console as an aiohttp application: what every request passes, and the routes."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from eventflow_console.desk import DESK, Desk
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.pages.routes import routes as page_routes


def application(desk: Desk, metrics: ConsoleMetrics) -> web.Application:
    """Build the application."""
    app = web.Application(middlewares=[_counting(metrics)])
    app[DESK] = desk
    app.add_routes(page_routes())
    return app


def _counting(metrics: ConsoleMetrics) -> Middleware:
    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        metrics.requests.labels(route=_route_of(request), status=f"{response.status // 100}xx").inc()
        return response

    return count


def _route_of(request: web.Request) -> str:
    """Return the path of a route. A path without a route is chosen by the visitor, so it is no label."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical
