"""The quota of a target as its answers state it. Nonsense states nothing."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow_processor.target.feedback import NOTHING, Feedback, FeedbackReader, Mode, seconds_until
from eventflow_processor.target.result import Failed, judge
from eventflow_processor.target.success import SuccessRule, parsed
from tests.support.cases import CASES

NOW = datetime(2025, 7, 13, 21, 34, 44, tzinfo=UTC)
RESET = int(NOW.timestamp()) + 30


def read(headers: dict[str, str], *, mode: Mode = "standard", cost: float = 1.0) -> Feedback:
    return FeedbackReader(mode=mode, cost=cost).of_headers(
        {name.lower(): value for name, value in headers.items()}, now=NOW
    )


@pytest.mark.parametrize("name", ["Retry-After", "X-RateLimit-Reset", "RateLimit-Reset", "X-Rate-Limit-Reset"])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("2.0", 2),
        (" 1.25 ", 1.25),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Sun Jul 13 21:35:14 2025", 30),
        ("Sunday, 13-Jul-25 21:35:14 GMT", 30),
        (str(RESET), 30),
        (f"{RESET}.5", 30.5),
        (f"{RESET}000", 30),  # RocketChat docs-old#1358: milliseconds, taken for a pause of 57 000 years
        (f"{RESET}000000", 30),
        (f"{RESET}000000000", 30),
        ("2025-07-13T21:35:14Z", 30),
        ("2025-07-13T23:35:14.000+02:00", 30),
        ("2025-07-13t21:35:14", 30),
        ("2025-07-13 21:35:14", 30),
    ],
)
def test_times_come_in_many_ways_in_whichever_header(name: str, text: str, seconds: float) -> None:
    if name == "Retry-After":
        assert read({name: text}).retry_after_s == seconds
    else:
        remaining = name.replace("Reset", "Remaining")
        assert read({remaining: "0", name: text}) == Feedback(room=0, refilled_after_s=seconds)


def test_what_is_no_time_counts_as_absent() -> None:
    nonsense = (None, "", " ", "soon", "-5", "1.", "1e3", "٣", "9" * 30, "2025-07-13", "2025-13-13T00:00:00Z")
    absurd = (
        "Mon, 01 Jan 2024 00:00:00 +9999999999999999",  # reproduced on 0.1.0: OverflowError, on a 200 too
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +9999",
        "2024-01-01T00:00:00+99:99",
    )
    for text in (*nonsense, *absurd):
        assert seconds_until(text, now=NOW) is None, text


def test_retry_after_pauses_the_flow_on_429_403_and_503_only() -> None:
    """automatic-releases#236: a 403 with Retry-After was a failure like any other."""
    for status, waits in ((429, True), (503, True), (403, True), (500, False), (404, False)):
        result = judge(status, feedback=Feedback(retry_after_s=3))
        assert isinstance(result, Failed)
        assert result.asks_to_wait is waits
        assert result.feedback.retry_after_s == 3, "for this event alone, if not for the flow"
    for status in (503, 403):
        plain = judge(status, feedback=Feedback(room=1))
        assert isinstance(plain, Failed)
        assert not plain.asks_to_wait
    spent = judge(403, feedback=Feedback(room=0))
    assert isinstance(spent, Failed)
    assert spent.asks_to_wait, "GitHub says so, with X-RateLimit-Remaining: 0"


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
        ({"X-RateLimit-Remaining": "-3", "X-RateLimit-Reset": "9"}, 0, 9),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": str(RESET), "X-RateLimit-Reset-After": "1.5"}, 1, 1.5),
        ({"X-Rate-Limit-Limit": "5", "X-Rate-Limit-Remaining": "2", "X-Rate-Limit-Reset": "7"}, 2, 7),
        ({"RateLimit": f"limit=100, remaining=7, reset={RESET}"}, 7, 30),
    ],
)
def test_standard_reads_the_draft_and_what_came_before_it(
    headers: dict[str, str], room: float, refilled_after_s: float | None
) -> None:
    assert read(headers) == Feedback(room=room, refilled_after_s=refilled_after_s)
    assert read(headers, cost=5).room == room * 5, "a number of requests is converted into units"


def test_shopify_tells_how_full_its_bucket_is() -> None:
    assert read({"X-Shopify-Shop-Api-Call-Limit": "32/40"}, mode="shopify") == Feedback(room=8)
    assert read({"X-Shopify-Shop-Api-Call-Limit": "41/40"}, mode="shopify") == Feedback(room=0)
    assert read({"X-Shopify-Shop-Api-Call-Limit": "32/40"}) == NOTHING


def graphql(*, available: float, errors: list[dict] | None = None) -> dict:
    status = {"maximumAvailable": 1000.0, "currentlyAvailable": available, "restoreRate": 50.0}
    cost = {"requestedQueryCost": 70, "actualQueryCost": None, "throttleStatus": status}
    return {"errors": errors, "extensions": {"cost": cost}} if errors else {"extensions": {"cost": cost}}


def test_graphql_tells_room_and_rate_in_the_body() -> None:
    feedback, is_refused = FeedbackReader(mode="shopify-graphql").of_document(graphql(available=930), head=NOTHING)
    assert feedback == Feedback(room=930, rate_per_s=50)
    assert not is_refused


@pytest.mark.parametrize("error", [{"message": "Throttled"}, {"message": "x", "extensions": {"code": "THROTTLED"}}])
def test_graphql_refuses_with_200_and_that_is_no_success(error: dict) -> None:
    reader = FeedbackReader(mode="shopify-graphql")
    feedback, is_refused = reader.of_document(graphql(available=20, errors=[error]), head=NOTHING)
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
    reader = FeedbackReader(mode="shopify-graphql")
    assert reader.of_document(parsed(body), head=NOTHING) == (NOTHING, False)


HEADERS = (
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    *(
        f"{prefix}-{suffix}"
        for prefix in ("RateLimit", "X-RateLimit", "X-Rate-Limit")
        for suffix in ("Limit", "Remaining", "Reset", "Reset-After")
    ),
    "X-Shopify-Shop-Api-Call-Limit",
)
PARTS_OF_FIELDS = (
    '"a"',
    ";r=",
    ";t=",
    ";q=",
    ";w=",
    ";qu=",
    "remaining=",
    "reset=",
    ", ",
    "/",
    "?1",
    "@",
    "(",
    ")",
    "*",
)
ODD_VALUES = (
    "0",
    "1",
    "1.5",
    "9" * 16,
    "@" + "9" * 15,
    ":YQ==:",
    '%"%ff"',
    "-",
    "+",
    "nan",
    "inf",
    "\x00",
    "\udcff",
    " ",
)
PARTS_OF_DATES = ("Mon, 01 Jan ", "2024", "9999", "00:00:00", " GMT", "2024-01-01T", "24:00", "Z", ".")
FRAGMENTS = st.lists(st.sampled_from(PARTS_OF_FIELDS + ODD_VALUES + PARTS_OF_DATES), max_size=12).map("".join)
DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Monday", ""]),
    st.integers(-1, 40),
    st.sampled_from(["Jan", "Dec", "Foo"]),
    st.integers(-1, 10**20),
    st.integers(-1, 99),
    st.integers(-1, 99),
    st.integers(-1, 99),
    st.sampled_from(["GMT", "", "EST", "-0000"]) | st.integers(-(10**20), 10**20).map("{:+05}".format),
)
VALUES = st.binary(max_size=40).map(lambda value: value.decode("utf-8", "surrogateescape")) | FRAGMENTS | DATES


@settings(max_examples=3 * CASES)
@given(
    st.sampled_from(["standard", "shopify", "shopify-graphql", "none"]),
    st.dictionaries(st.sampled_from(HEADERS), VALUES),
)
def test_no_header_crashes_it_and_no_figure_is_negative(mode: Mode, headers: dict[str, str]) -> None:
    feedback = read(headers, mode=mode)
    figures = (feedback.retry_after_s, feedback.room, feedback.refilled_after_s, feedback.rate_per_s)
    assert all(figure is None or 0 <= figure < 1e20 for figure in figures)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["errors", "data", "extensions", "cost", "throttleStatus", "code", "message", "type", "x"])
            | st.sampled_from(["currentlyAvailable", "restoreRate", "requestedQueryCost", "userErrors"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_body_crashes_it(document: object) -> None:
    feedback, _ = FeedbackReader(mode="shopify-graphql").of_document(document, head=NOTHING)
    assert feedback.retry_after_s is None or feedback.retry_after_s >= 0
    SuccessRule(is_graphql=True, user_errors_fail=True, present=("/data/0/x",), absent=("/errors/0",)).refuses(document)
