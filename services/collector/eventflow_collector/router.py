"""The public HTTP interface: from the method and path of a request to its destination. Pure.

Three paths need no router, and aiohttp's application with its resolver, match and hooks costs every event.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from eventflow.topology import DEFAULT_FLOW
from eventflow_collector import responses
from eventflow_collector.responses import Response

EVENTS_PATH = "/events"
DESCRIPTION_PATH = "/openapi.json"


@dataclass(frozen=True, slots=True)
class ToFlow:
    """A request with events for a flow, which may not exist."""

    name: str


@dataclass(frozen=True, slots=True)
class ToDescription:
    """A request for the description of the interface."""


TO_DESCRIPTION: Final = ToDescription()

Route = ToFlow | ToDescription | Response

ROUTES_KEPT_MAX = 128
"""Number of cached paths. Flows are few, and every event repeats their paths. Unknown paths count too."""


@lru_cache(maxsize=ROUTES_KEPT_MAX)
def route(method: str, raw_path: str) -> Route:
    """Return the destination of a request; a `Response` is the error for a request without one.

    Args:
        method: As the request has it.
        raw_path: The path as it was written, without the query.
    """
    flow = _flow_at(raw_path)
    if flow is not None:
        return ToFlow(flow) if method == "POST" else _not_served(method, allow="POST")
    if raw_path != DESCRIPTION_PATH:
        return responses.problem(404, "There is nothing at this path.", closes=True)
    return TO_DESCRIPTION if method in {"GET", "HEAD"} else _not_served(method, allow="GET,HEAD")


def _flow_at(path: str) -> str | None:
    """Return the name of the flow that accepts events at a path; None if the path is of another kind."""
    if path == EVENTS_PATH:
        return DEFAULT_FLOW
    if not path.startswith(f"{EVENTS_PATH}/"):
        return None
    name = path.removeprefix(f"{EVENTS_PATH}/")
    return unquote(name) if name and "/" not in name else None


def _not_served(method: str, *, allow: str) -> Response:
    return responses.problem(405, f"{method} is not served at this path.", closes=True, allow=allow)
