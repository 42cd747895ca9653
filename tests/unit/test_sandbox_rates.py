"""The sandbox's leaky bucket and its audit of rates, at times that the test tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.rates import LeakyBucket, SlidingWindowMaximum


def test_bucket_takes_its_capacity_at_once_and_then_refuses() -> None:
    bucket = LeakyBucket(rate_per_s=2, capacity=3)
    assert [bucket.take(0.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(0.0) == pytest.approx(0.5)


def test_what_was_refused_fits_after_the_time_that_it_was_told() -> None:
    bucket = LeakyBucket(rate_per_s=2, capacity=1)
    bucket.take(0.0)
    wait_s = bucket.take(0.1)
    assert bucket.take(0.1 + wait_s - 0.001) > 0
    assert bucket.take(0.1 + wait_s + 0.001) == 0


def test_refused_requests_do_not_fill_the_bucket() -> None:
    bucket = LeakyBucket(rate_per_s=1, capacity=1)
    bucket.take(0.0)
    for _ in range(100):
        bucket.take(0.5)
    assert bucket.take(1.01) == 0


def test_a_changed_limit_keeps_what_is_in_the_bucket() -> None:
    bucket = LeakyBucket(rate_per_s=1, capacity=10)
    for _ in range(10):
        bucket.take(0.0)
    changed = bucket.changed(1.0, rate_per_s=100, capacity=10)
    assert changed.level(1.0) == 9
    assert changed.level(1.05) == pytest.approx(4)


@given(
    gaps_s=st.lists(st.floats(min_value=0, max_value=2), min_size=1, max_size=200),
    rate_per_s=st.floats(min_value=0.5, max_value=50),
    capacity=st.integers(min_value=1, max_value=20),
)
def test_no_stretch_of_time_sees_more_than_capacity_and_leakage(
    gaps_s: list[float], rate_per_s: float, capacity: int
) -> None:
    bucket = LeakyBucket(rate_per_s=rate_per_s, capacity=capacity)
    now_s, taken_s = 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if bucket.take(now_s) == 0:
            taken_s.append(now_s)
    for first, start_s in enumerate(taken_s):
        for last in range(first, len(taken_s)):
            assert last - first + 1 <= capacity + rate_per_s * (taken_s[last] - start_s) + 1e-6


def test_window_counts_what_lies_less_than_its_length_apart() -> None:
    window = SlidingWindowMaximum(1.0)
    for moment_s in (0.0, 0.5, 0.9, 1.0, 3.0):
        window.add(moment_s)
    assert window.maximum == 3  # 0.0 to 0.9, and 0.5 to 1.0: 0.0 and 1.0 are one window apart


@given(
    moments_s=st.lists(st.integers(min_value=0, max_value=1_000), max_size=100).map(sorted),
    window_s=st.integers(min_value=1, max_value=300),
)
def test_window_maximum_is_that_of_every_window(moments_s: list[int], window_s: int) -> None:
    window = SlidingWindowMaximum(window_s)
    for moment_s in moments_s:
        window.add(moment_s)
    counts = (sum(start <= other < start + window_s for other in moments_s) for start in moments_s)
    assert window.maximum == max(counts, default=0)
