"""The sandbox's leaky bucket and its audit of rates, at times that the test tells."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.target.rates import LeakyBucket, Limit, SlidingWindowMaximum, StrictWindow


def test_bucket_takes_its_burst_at_once_and_then_refuses() -> None:
    bucket = LeakyBucket(rate_per_s=2, burst=3)
    assert [bucket.take(0.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(0.0) == pytest.approx(0.5)


EITHER_LIMIT = pytest.mark.parametrize(
    "limit_of", [lambda: LeakyBucket(rate_per_s=1, burst=2), lambda: StrictWindow(rate_per_s=1, burst=1)]
)


@EITHER_LIMIT
def test_what_was_refused_fits_after_the_time_that_it_was_told(limit_of: Callable[[], Limit]) -> None:
    limit = limit_of()
    assert [limit.take(0.0), limit.take(0.1)] == [0, 0]
    wait_s = limit.take(0.2)
    assert limit.take(0.2 + wait_s - 0.001) > 0
    assert limit.take(0.2 + wait_s + 0.001) == 0


@EITHER_LIMIT
def test_what_is_refused_does_not_count(limit_of: Callable[[], Limit]) -> None:
    limit = limit_of()
    for _ in range(100):
        limit.take(0.0)
    assert limit.take(1.01) == 0


@pytest.mark.parametrize("limit", [LeakyBucket(rate_per_s=100, burst=1000), StrictWindow(rate_per_s=100, burst=900)])
def test_a_request_takes_as_many_units_as_it_costs(limit: Limit) -> None:
    assert sum(limit.take(0.0, cost=50) == 0 for _ in range(100)) == 20
    assert limit.take(0.0, cost=1) > 0


def test_a_changed_limit_keeps_what_is_in_the_bucket() -> None:
    bucket = LeakyBucket(rate_per_s=1, burst=10)
    for _ in range(10):
        bucket.take(0.0)
    changed = bucket.changed(1.0, rate_per_s=100, burst=10)
    assert changed.level(1.0) == 9
    assert changed.level(1.05) == pytest.approx(4)


@given(
    gaps_s=st.lists(st.floats(min_value=0, max_value=2), min_size=1, max_size=200),
    rate_per_s=st.floats(min_value=0.5, max_value=50),
    burst=st.integers(min_value=1, max_value=20),
)
def test_no_stretch_of_time_sees_more_than_burst_and_leakage(
    gaps_s: list[float], rate_per_s: float, burst: int
) -> None:
    bucket = LeakyBucket(rate_per_s=rate_per_s, burst=burst)
    now_s, taken_s = 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if bucket.take(now_s) == 0:
            taken_s.append(now_s)
    for first, start_s in enumerate(taken_s):
        for last in range(first, len(taken_s)):
            assert last - first + 1 <= burst + rate_per_s * (taken_s[last] - start_s) + 1e-6


def test_window_counts_what_lies_less_than_its_length_apart() -> None:
    window = SlidingWindowMaximum(1.0)
    for moment_s in (0.0, 0.5, 0.9, 1.0, 3.0):
        window.add(moment_s)
    assert window.maximum == 3  # 0.0 to 0.9, and 0.5 to 1.0: 0.0 and 1.0 are one window apart


def test_a_changed_window_counts_what_it_had_let_through() -> None:
    window = StrictWindow(rate_per_s=4, burst=0)
    for _ in range(4):
        window.take(0.0)
    changed = window.changed(0.5, rate_per_s=2, burst=0)
    assert changed.take(0.6) == pytest.approx(0.4)
    assert [changed.take(1.01), changed.take(1.02)] == [0, 0]


@given(
    requests=st.lists(
        st.tuples(st.floats(min_value=0, max_value=1.5), st.floats(min_value=0.1, max_value=3)),
        min_size=1,
        max_size=100,
    ),
    rate_per_s=st.floats(min_value=1, max_value=20),
    burst=st.floats(min_value=2, max_value=10),
)
def test_a_strict_limit_holds_in_every_second_and_refuses_nothing_else(
    requests: list[tuple[float, float]], rate_per_s: float, burst: float
) -> None:
    window = StrictWindow(rate_per_s=rate_per_s, burst=burst)
    now_s, taken = 0.0, []
    for gap_s, cost in requests:
        now_s += gap_s
        units = sum(other for at_s, other in taken if at_s + 1 > now_s) + cost
        if window.take(now_s, cost=cost) == 0:
            taken.append((now_s, cost))
            assert units <= rate_per_s + burst + 1e-6
        else:
            assert units > rate_per_s + burst - 1e-6


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
