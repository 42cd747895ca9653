"""The public HTTP interface: from the method and path of a request to its destination. Pure.

Three paths need no router, and aiohttp's application with its resolver, match and hooks costs every event.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from eventflow.dot_segments import has_dot_segment
from eventflow.topology import DEFAULT_FLOW
from eventflow_collector import responses
from eventflow_collector.responses import Response

EVENTS_PATH = "/events"
DESCRIPTION_PATH = "/openapi.json"


@dataclass(frozen=True, slots=True)
class ToFlow:
    """A request for a flow, which may not exist.

    Attributes:
        name: Of the flow.
        sub_path: The part of the path behind that of the flow: empty, or it begins with a slash.
    """

    name: str
    sub_path: str = ""


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
    to_flow = _flow_at(raw_path)
    if to_flow is not None:
        return to_flow  # which methods it takes is a setting of the flow
    if raw_path != DESCRIPTION_PATH:
        return responses.problem(404, "There is nothing at this path.", closes=True)
    return TO_DESCRIPTION if method in {"GET", "HEAD"} else _not_served(method, allow="GET,HEAD")


def _flow_at(path: str) -> ToFlow | None:
    """Return the flow that accepts events at a path; None if the path is of another kind."""
    if path in {EVENTS_PATH, f"{EVENTS_PATH}/"}:
        return ToFlow(DEFAULT_FLOW, path.removeprefix(EVENTS_PATH))
    if not path.startswith(f"{EVENTS_PATH}/"):
        return None
    name, slash, below = path.removeprefix(f"{EVENTS_PATH}/").partition("/")
    # A proxy may resolve dot segments, and so allow this path as that of another flow.
    return ToFlow(unquote(name), slash + below) if name and not has_dot_segment(below) else None


def _not_served(method: str, *, allow: str) -> Response:
    return responses.problem(405, f"{method} is not served at this path.", closes=True, headers={"Allow": allow})
