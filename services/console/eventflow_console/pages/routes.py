"""The addresses of the pages."""

from aiohttp import web


def routes() -> list[web.RouteDef]:
    """Return the routes of all pages."""
    return [web.get("/", _home)]


async def _home(_: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>Event Flow</title><p>Event Flow", content_type="text/html")
