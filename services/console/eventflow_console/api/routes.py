"""The addresses of the API."""

from aiohttp import web

from eventflow_console.api.attempts import get_actions, get_attempts, stream_attempts
from eventflow_console.api.description import get_description
from eventflow_console.api.openapi import PREFIX


def routes() -> list[web.RouteDef]:
    """Return the routes of the API."""
    return [
        web.get(f"{PREFIX}/attempts", get_attempts),
        web.get(f"{PREFIX}/attempts.ndjson", stream_attempts),
        web.get(f"{PREFIX}/actions", get_actions),
        web.get(f"{PREFIX}/openapi.json", get_description),
    ]
