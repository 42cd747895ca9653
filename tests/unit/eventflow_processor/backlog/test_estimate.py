"""Estimate of the time until a backlog is gone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow_processor.backlog.estimate import BacklogEstimate, BacklogEstimator


def watched(
    *, quota: float, seconds: int, waiting: float, arrival: float, departure: float, processors: int = 1
) -> BacklogEstimate:
    """Look once a second at a backlog that changes evenly; return the last estimate."""
    estimator = BacklogEstimator()
    for second in range(seconds + 1):
        left = round(waiting + (arrival - departure) * second)
        estimate = estimator.look(
            at_s=second,
            waiting=left,
            is_busy=left > 0,
            is_flowing=True,
            departed_here=round(departure * second / processors),
            processors=processors,
            quota_per_s=quota,
        )
    return estimate


def test_a_backlog_drains_by_what_leaves_beyond_what_arrives() -> None:
    estimate = watched(quota=10, seconds=30, waiting=1000, arrival=4, departure=10)
    assert estimate.eta_s == pytest.approx((1000 - 30 * 6) / 6, rel=0.02)
    assert (estimate.arrival_per_s, estimate.departure_per_s) == (pytest.approx(4), pytest.approx(10))


def test_a_backlog_that_grows_never_drains() -> None:
    estimate = watched(quota=10, seconds=30, waiting=100, arrival=12, departure=10)
    assert math.isinf(estimate.eta_s)
    assert estimate.arrival_per_s == pytest.approx(12)


def test_what_a_slow_target_leaves_counts_and_not_the_quota_that_it_does_not_use() -> None:
    estimate = watched(quota=100, seconds=30, waiting=1000, arrival=1, departure=5)
    assert estimate.eta_s == pytest.approx((1000 - 30 * 4) / 4, rel=0.02)


def test_a_few_events_under_way_are_no_backlog_that_never_drains() -> None:
    estimator = BacklogEstimator()
    estimates = [
        estimator.look(
            at_s=second,
            waiting=second % 3,
            is_busy=second % 3 > 0,
            is_flowing=True,
            departed_here=10 * second,
            processors=1,
            quota_per_s=50,
        )
        for second in range(60)
    ]
    assert max(estimate.eta_s for estimate in estimates) < 0.1


def test_the_others_are_taken_to_deliver_as_much_as_this_one() -> None:
    estimate = watched(quota=30, seconds=30, waiting=3000, arrival=0, departure=30, processors=3)
    assert estimate.departure_per_s == pytest.approx(30)
    assert estimate.eta_s == pytest.approx((3000 - 900) / 30, rel=0.02)


def test_a_peak_that_is_over_is_forgotten_after_a_minute() -> None:
    estimator = BacklogEstimator()
    estimator.look(at_s=0, waiting=0, is_busy=False, is_flowing=True, departed_here=0, processors=1, quota_per_s=10)
    estimates = [
        estimator.look(
            at_s=s,
            waiting=5000 - 10 * s,
            is_busy=True,
            is_flowing=True,
            departed_here=10 * s,
            processors=1,
            quota_per_s=10,
        )
        for s in range(1, 90)
    ]
    assert math.isinf(estimates[0].eta_s)
    assert estimates[-1].eta_s == pytest.approx((5000 - 890) / 10, rel=0.02)
    assert estimates[-1].arrival_per_s == pytest.approx(0, abs=0.1)


def test_without_a_quota_nothing_is_said_of_what_is_gone_at_once() -> None:
    assert (
        BacklogEstimator()
        .look(at_s=0, waiting=7, is_busy=True, is_flowing=True, departed_here=0, processors=0, quota_per_s=math.inf)
        .eta_s
        == 0
    )


@given(
    looks=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 100)), min_size=2, max_size=80),
    quota=st.just(math.inf) | st.floats(0.1, 1000),
)
def test_an_estimate_is_never_negative_nor_not_a_number(looks: list[tuple[int, int]], quota: float) -> None:
    estimator, departed = BacklogEstimator(), 0
    for second, (waiting, more) in enumerate(looks):
        departed += more
        estimate = estimator.look(
            at_s=second,
            waiting=waiting,
            is_busy=waiting > 0,
            is_flowing=True,
            departed_here=departed,
            processors=2,
            quota_per_s=quota,
        )
        assert estimate.eta_s >= 0
        assert estimate.arrival_per_s >= 0
        assert (estimate.eta_s == 0) == (waiting == 0) or math.isinf(quota)


def test_the_rates_of_a_standstill_predict_nothing() -> None:
    estimator = BacklogEstimator()

    def look(second: int, waiting: int, *, is_flowing: bool) -> float:
        departed = 12 - waiting
        return estimator.look(
            at_s=second,
            waiting=waiting,
            is_busy=True,
            is_flowing=is_flowing,
            departed_here=departed,
            processors=1,
            quota_per_s=2,
        ).eta_s

    assert {look(second, 12, is_flowing=False) for second in range(50)} == {math.inf}
    assert look(50, 12, is_flowing=True) == 6
    assert look(51, 10, is_flowing=True) == 5
