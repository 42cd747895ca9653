"""What answers say about a target's quota, and what is read into nonsense: nothing."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.feedback import NOTHING, Feedback, FeedbackReader, Mode, parse_retry_after
from processor.target import Failed, judge

NOW = datetime(2025, 7, 13, 21, 34, 44, tzinfo=UTC)
RESET = int(NOW.timestamp()) + 30


def read(headers: dict[str, str], *, mode: Mode = "standard", cost: float = 1.0) -> Feedback:
    return FeedbackReader(mode=mode, cost=cost).of_headers(headers, now=NOW)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert parse_retry_after("120", now=NOW) == 120
    assert parse_retry_after("2.0", now=NOW) == 2
    assert parse_retry_after(format_datetime(NOW + timedelta(seconds=90), usegmt=True), now=NOW) == 90
    assert parse_retry_after(format_datetime(NOW - timedelta(seconds=90), usegmt=True), now=NOW) == 0
    for nonsense in (None, "", "soon", "-5", "1.", "1e3", "٣"):
        assert parse_retry_after(nonsense, now=NOW) is None


def test_retry_after_has_a_meaning_on_429_and_503_only() -> None:
    for status, waits in ((429, True), (503, True), (500, False), (404, False)):
        result = judge(status, feedback=Feedback(retry_after_s=3))
        assert isinstance(result, Failed)
        assert result.asks_to_wait is waits
    plain = judge(503)
    assert isinstance(plain, Failed)
    assert not plain.asks_to_wait


def test_where_nothing_steers_a_429_is_a_failure_like_any_other() -> None:
    assert read({"Retry-After": "3", "RateLimit": '"default";r=0;t=30'}, mode="none") == NOTHING
    result = judge(429, steers=False)
    assert isinstance(result, Failed)
    assert not result.asks_to_wait


@pytest.mark.parametrize(
    ("headers", "room", "refilled_after_s"),
    [
        ({"RateLimit": '"default";r=50;t=30'}, 50, 30),
        ({"RateLimit": '"hour";r=1000;t=1800, "second";r=3;t=1'}, 3, 1),
        ({"RateLimit": '"default";r=0', "RateLimit-Policy": '"default";q=100;w=60'}, 0, 60),
        ({"RateLimit": '"bytes";r=0, "calls";r=9', "RateLimit-Policy": '"bytes";q=9;qu="content-bytes"'}, 9, None),
        ({"RateLimit": "limit=100, remaining=7, reset=20"}, 7, 20),
        ({"RateLimit-Limit": "10", "RateLimit-Remaining": "2", "RateLimit-Reset": "7"}, 2, 7),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(RESET)}, 0, 30),
        ({"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "2025-07-13"}, 4, None),
    ],
)
def test_standard_reads_the_draft_and_what_came_before_it(
    headers: dict[str, str], room: float, refilled_after_s: float | None
) -> None:
    assert read(headers) == Feedback(room=room, refilled_after_s=refilled_after_s)
    assert read(headers, cost=5).room == room * 5, "what is said in requests counts in units"


def test_shopify_tells_how_full_its_bucket_is() -> None:
    assert read({"X-Shopify-Shop-Api-Call-Limit": "32/40"}, mode="shopify") == Feedback(room=8)
    assert read({"X-Shopify-Shop-Api-Call-Limit": "41/40"}, mode="shopify") == Feedback(room=0)
    assert read({"X-Shopify-Shop-Api-Call-Limit": "32/40"}) == NOTHING


def graphql(*, available: float, errors: list[dict] | None = None) -> bytes:
    status = {"maximumAvailable": 1000.0, "currentlyAvailable": available, "restoreRate": 50.0}
    cost = {"requestedQueryCost": 70, "actualQueryCost": None, "throttleStatus": status}
    return json.dumps(
        {"errors": errors, "extensions": {"cost": cost}} if errors else {"extensions": {"cost": cost}}
    ).encode()


def test_graphql_tells_room_and_rate_in_the_body() -> None:
    feedback, is_refused = FeedbackReader(mode="shopify-graphql").of_body(graphql(available=930), head=NOTHING)
    assert feedback == Feedback(room=930, rate_per_s=50)
    assert not is_refused


@pytest.mark.parametrize("error", [{"message": "Throttled"}, {"message": "x", "extensions": {"code": "THROTTLED"}}])
def test_graphql_refuses_with_200_and_that_is_no_success(error: dict) -> None:
    reader = FeedbackReader(mode="shopify-graphql")
    feedback, is_refused = reader.of_body(graphql(available=20, errors=[error]), head=NOTHING)
    assert is_refused
    assert feedback.retry_after_s == 1, "when the 50 points that are missing have been restored"
    result = judge(200, feedback=feedback, is_refused=is_refused)
    assert isinstance(result, Failed)
    assert result.asks_to_wait
    assert result.reason == "throttled"


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"errors": 5, "extensions": {"cost": []}}', b'{"extensions": NaN}']
)
def test_a_body_that_makes_no_sense_says_nothing(body: bytes) -> None:
    assert FeedbackReader(mode="shopify-graphql").of_body(body, head=NOTHING) == (NOTHING, False)


HEADERS = (
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Shopify-Shop-Api-Call-Limit",
)
VALUES = st.binary(max_size=40).map(lambda value: value.decode("latin-1")) | st.lists(
    st.sampled_from(
        ['"a"', ";r=", ";t=", ";q=", ";w=", "remaining=", "reset=", ", ", "/", "-", "0", "1", "9" * 16, "1.5", "?"]
    ),
    max_size=12,
).map("".join)


@given(
    st.sampled_from(["standard", "shopify", "shopify-graphql", "none"]),
    st.dictionaries(st.sampled_from(HEADERS), VALUES),
)
def test_no_header_crashes_it_and_no_figure_is_negative(mode: Mode, headers: dict[str, str]) -> None:
    feedback = read(headers, mode=mode)
    figures = (feedback.retry_after_s, feedback.room, feedback.refilled_after_s, feedback.rate_per_s)
    assert all(figure is None or 0 <= figure < 1e18 for figure in figures)
