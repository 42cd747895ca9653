"""The ceiling of ingest: aiohttp reads the body and answers 202, and keeps nothing."""

import uvloop
from aiohttp import web

from benchmarks.peers.settings import PORT


async def receive(request: web.Request) -> web.Response:
    """Answer one request."""
    await request.read()
    return web.Response(status=202)


if __name__ == "__main__":
    uvloop.install()
    app = web.Application()
    app.add_routes([web.post("/events", receive)])
    web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None)
