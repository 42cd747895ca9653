"""Paths of the public interface."""

import pytest

from eventflow_collector.responses import Response
from eventflow_collector.router import ToDescription, ToFlow, route


@pytest.mark.parametrize(
    ("path", "flow"), [("/events", "default"), ("/events/x", "x"), ("/events/%C3%BC", "ü"), ("/events/a%2Fb", "a/b")]
)
def test_a_post_of_events_leads_to_its_flow(path: str, flow: str) -> None:
    assert route("POST", path) == ToFlow(flow)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/events", 405, "POST"),
        ("PUT", "/events/x", 405, "POST"),
        ("POST", "/openapi.json", 405, "GET,HEAD"),
        ("POST", "/", 404, None),
        ("POST", "/events/", 404, None),
        ("POST", "/events/x/y", 404, None),
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
