"""Retry queues that are left over from earlier settings."""

import pytest

from eventflow.operations.retry_queues import guessed_management_url, leftovers_among


def test_leftover_retry_queues_are_those_of_our_flows_that_no_setting_names() -> None:
    queues = [
        "eventflow.a.retry.5000",
        "eventflow.a.retry.1000",
        "eventflow.a.retry.500",
        "eventflow.b.retry.1",
        "other",
    ]
    assert leftovers_among(queues, {"a": (1.0,)}) == {"a": (0.5, 5.0)}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://guest:guest@rabbit/", "http://rabbit:15672"),
        ("amqps://u:p@rabbit:5671/ef", "https://rabbit:15671"),
        ("amqp://u:p@[::1]:5699/a%2Fb", "http://[::1]:15699"),
        ("amqp://u:p@rabbit:60000/", None),
    ],
)
def test_where_the_management_api_is_looked_for(url: str, expected: str | None) -> None:
    assert guessed_management_url(url) == expected
