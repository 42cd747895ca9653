"""Paths of the public interface."""

import pytest

from eventflow_collector.responses import Response
from eventflow_collector.router import ToDescription, ToFlow, route


@pytest.mark.parametrize(
    ("path", "flow", "sub_path"),
    [
        ("/events", "default", ""),
        ("/events/", "default", "/"),
        ("/events/x", "x", ""),
        ("/events/x/", "x", "/"),
        ("/events/x/y/%7A", "x", "/y/%7A"),
        ("/events/x//", "x", "//"),
        ("/events/%C3%BC", "ü", ""),
        ("/events/a%2Fb", "a/b", ""),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_for_a_flow_leads_there(method: str, path: str, flow: str, sub_path: str) -> None:
    assert route(method, path) == ToFlow(flow, sub_path)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("POST", "/openapi.json", 405, "GET,HEAD"),
        ("POST", "/", 404, None),
        ("POST", "/events//x", 404, None),
        ("POST", "/events/x/../y", 404, None),
        ("POST", "/events/x/%2e%2E/y", 404, None),
        ("POST", "/events/x/.", 404, None),
        ("POST", "/events/x/..%2fy", 404, None),
        ("POST", "/events/x/..%5Cy", 404, None),
        ("POST", "/events/x/..;/y", 404, None),
        ("POST", "/eventsx", 404, None),
    ],
)
def test_a_request_that_leads_nowhere_is_answered_and_closed(
    method: str, path: str, status: int, allow: str | None
) -> None:
    answer = route(method, path)
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers.get("Allow"), answer.closes) == (status, allow, True)


def test_the_description_is_read_by_get_and_head() -> None:
    assert route("GET", "/openapi.json") == route("HEAD", "/openapi.json") == ToDescription()
