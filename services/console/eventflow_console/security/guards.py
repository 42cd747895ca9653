"""The middlewares that each request passes, from the outermost to the innermost."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Final, Protocol

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from eventflow.errors import EventFlowError
from eventflow_console.auth.user import USER, Authenticator
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.refusals import RequestRefusedError, problem_response, refusal_of
from eventflow_console.security.hosts import Hosts
from eventflow_console.security.origins import SAFE_METHODS, foreign_reason

API_PREFIX: Final = "/api/"
PATH_SHOWN_MAX: Final = 200

BEGUN: Final = web.RequestKey("begun", bool)
"""Set when the head of an answer is sent."""

log = structlog.stdlib.get_logger()


class RefusalPage(Protocol):
    """Shows a refusal to a person."""

    def __call__(self, request: web.Request, *, status: int, title: str, detail: str) -> Awaitable[web.Response]:
        """Return the page."""
        ...


def observing(metrics: ConsoleMetrics) -> Middleware:
    """Count and log each request: its path without the query, which may hold anything that a person has typed."""

    def note(request: web.Request, status: int, began_s: float) -> None:
        metrics.requests.labels(route=_route_of(request), status=f"{status // 100}xx").inc()
        is_notable = request.method not in SAFE_METHODS or status >= 400
        (log.info if is_notable else log.debug)(
            "request.answered",
            method=request.method,
            path=request.path[:PATH_SHOWN_MAX],
            status=status,
            duration_ms=round((time.perf_counter() - began_s) * 1000, 1),
            user=request.get(USER),
            address=request.remote,
        )

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        began_s = time.perf_counter()
        try:
            response = await handler(request)
        except web.HTTPException as redirect:
            note(request, redirect.status, began_s)
            raise
        note(request, response.status, began_s)
        return response

    return observe


def refusing(page: RefusalPage) -> Middleware:
    """Answer errors: with problem details in the API, and with a page elsewhere."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise  # a redirect
            refusal = refusal_of(error)
        except EventFlowError as error:
            refusal = refusal_of(error)
        except ConnectionError:
            raise  # the client has left, which aiohttp expects
        except Exception as error:  # the last guard: the connection stays usable, and the log has the reason
            log.exception("internal.error", place=_route_of(request), method=request.method, path=request.path)
            refusal = refusal_of(error)
        if request.get(BEGUN):
            # A second answer would follow the first one as if it were a part of it.
            raise ConnectionResetError("an answer has begun already")
        return await _answer(request, refusal, page)

    return refuse


def checking_hosts(hosts: Hosts) -> Middleware:
    """Refuse a request with the name of another host."""

    @web.middleware
    async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
        # aiohttp's `request.host` falls back to the name of this machine, and a second header would count for nothing.
        match request.headers.getall("Host", []):
            case [host] if hosts.accept(host, local_address=_local_address(request)):
                return await handler(request)
        raise RequestRefusedError(
            421, "The console is not known by this host name. EVENTFLOW_CONSOLE__HOSTS has the names that it accepts."
        )

    return check_host


def refusing_foreign(metrics: ConsoleMetrics) -> Middleware:
    """Refuse a request that another site makes through the browser of an operator."""

    @web.middleware
    async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (reason := foreign_reason(request.method, request.headers)) is not None:
            metrics.changes_refused.labels(reason="foreign").inc()
            raise RequestRefusedError(403, f"The request is refused: {reason}.")
        return await handler(request)

    return check_origin


def authenticating(authenticator: Authenticator) -> Middleware:
    """Refuse a request of an unknown person."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[USER] = await authenticator.user(request)
        return await handler(request)

    return authenticate


def refusing_changes(metrics: ConsoleMetrics, *, read_only: bool) -> Middleware:
    """Refuse every change on a read-only console."""

    @web.middleware
    async def check_method(request: web.Request, handler: Handler) -> web.StreamResponse:
        if read_only and request.method not in SAFE_METHODS:
            metrics.changes_refused.labels(reason="read_only").inc()
            raise RequestRefusedError(403, "This console is read-only, because EVENTFLOW_CONSOLE__READ_ONLY is set.")
        return await handler(request)

    return check_method


def completing_changes() -> Middleware:
    """Let a change that has begun come to its end and on record, although the client has left meanwhile."""
    running: set[asyncio.Task[web.StreamResponse]] = set()  # the event loop alone does not keep a task alive

    @web.middleware
    async def complete(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method in SAFE_METHODS:
            return await handler(request)
        change = asyncio.ensure_future(handler(request))
        running.add(change)
        change.add_done_callback(running.discard)
        return await asyncio.shield(change)

    return complete


async def _answer(request: web.Request, refusal: RequestRefusedError, page: RefusalPage) -> web.StreamResponse:
    if request.path.startswith(API_PREFIX):
        return problem_response(refusal)
    shown = await page(request, status=refusal.status, title=refusal.title, detail=str(refusal))
    shown.headers.update(refusal.headers)
    return shown


def _route_of(request: web.Request) -> str:
    """Return the path of a route. A path without a route is chosen by the visitor, so it is no label."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical


def _local_address(request: web.Request) -> str | None:
    address = None if request.transport is None else request.transport.get_extra_info("sockname")
    return address[0] if isinstance(address, tuple) else None
