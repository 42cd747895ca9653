"""The number of events that one processor holds at a time."""

import pytest

from eventflow.settings.auto import concurrency_of, prefetch_of
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane


@pytest.mark.parametrize(
    ("settings", "concurrency", "live"),
    [
        ({}, 64, 64),
        ({"rate_per_s": 2}, 10, 10),
        ({"rate_per_s": 0.1}, 1, 2),
        ({"rate_per_s": 100, "cost": 50}, 10, 10),
        ({"rate_per_s": 1000}, 5000, 64),
        ({"rate_per_s": 1000, "concurrency": 7}, 7, 64),
    ],
)
def test_auto_holds_what_rate_times_timeout_needs(settings: dict, concurrency: int, live: int) -> None:
    target = TargetSettings(**settings)
    assert concurrency_of(target) == concurrency
    assert prefetch_of(target, configured=None, max_body_bytes=1024 * 1024)[Lane.LIVE] == live
    assert prefetch_of(target, configured=9, max_body_bytes=1024 * 1024)[Lane.LIVE] == 9
