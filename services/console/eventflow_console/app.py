"""The console as an aiohttp application: the guards that every request passes, and the routes."""

from typing import Final

from aiohttp import web

from eventflow_console.api.routes import add_api
from eventflow_console.auth.user import Authenticator
from eventflow_console.desk import DESK, Desk
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.pages.problems import problem_page
from eventflow_console.pages.routes import routes
from eventflow_console.security.guards import (
    BEGUN,
    authenticating,
    checking_hosts,
    completing_changes,
    observing,
    refusing,
    refusing_changes,
    refusing_foreign,
)
from eventflow_console.security.headers import harden
from eventflow_console.security.hosts import Hosts

BODY_MAX_BYTES: Final = 256 * 1024
"""Enough for 1000 ids of events."""


def application(desk: Desk, authenticator: Authenticator, metrics: ConsoleMetrics) -> web.Application:
    """Build the application."""
    console = desk.settings.console
    app = web.Application(
        client_max_size=BODY_MAX_BYTES,
        middlewares=[
            observing(metrics),
            refusing(problem_page),
            checking_hosts(Hosts(console.host, console.hosts)),
            refusing_foreign(metrics),
            authenticating(authenticator),
            refusing_changes(metrics, read_only=console.read_only),
            completing_changes(),
        ],
    )
    app[DESK] = desk
    app.on_response_prepare.append(_on_prepare)
    app.add_routes(routes())
    add_api(app)
    return app


async def _on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    request[BEGUN] = True
    # In this signal and not in a middleware: the headers of a stream are sent before a middleware gets its response.
    harden(response.headers)
