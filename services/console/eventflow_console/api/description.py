"""The description of the API, at the address where programs expect it."""

import json
from functools import lru_cache

from aiohttp import web

from eventflow_console.api.openapi import document


async def get_description(_: web.Request) -> web.Response:
    """Answer with the description, in OpenAPI 3.1."""
    return web.Response(body=_encoded(), content_type="application/json")


@lru_cache(maxsize=1)
def _encoded() -> bytes:
    return json.dumps(document()).encode()
