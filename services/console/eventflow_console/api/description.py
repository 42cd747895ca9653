"""The description of the API, at the address at which programs expect it."""

from typing import Final

from aiohttp import web

DESCRIPTION: Final = web.AppKey("description", bytes)


async def get_description(request: web.Request) -> web.Response:
    """Answer with the description, in OpenAPI 3.1."""
    return web.Response(body=request.app[DESCRIPTION], content_type="application/json")
