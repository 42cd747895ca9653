"""The rate at which events come in, from counts in reports."""

import pytest

from eventflow.control.reports import CollectorReport
from eventflow_console.intake import IntakeCounter


def report(total: int | None, uptime_s: float | None = 1000.0) -> CollectorReport:
    return CollectorReport(accepted_total=total, uptime_s=uptime_s)


def test_events_before_the_first_look_have_no_time() -> None:
    counter = IntakeCounter()
    first = counter.count({"a": report(500)}, at_s=0.0)
    assert (first.accepted, first.rate_per_s) == (0, None)
    second = counter.count({"a": report(530)}, at_s=2.0)
    assert (second.accepted, second.rate_per_s) == (30, 15.0)


def test_a_rate_is_taken_over_ten_seconds() -> None:
    counter = IntakeCounter()
    for second in range(31):
        rate_per_s = counter.count({"a": report(10 * max(0, second - 15))}, at_s=float(second)).rate_per_s
    assert rate_per_s == pytest.approx(10.0)


def test_a_collector_that_has_started_since_the_last_look_counts_from_its_start() -> None:
    counter = IntakeCounter()
    counter.count({"a": report(7)}, at_s=0.0)
    intake = counter.count({"b": report(40, uptime_s=4.0)}, at_s=10.0)
    assert (intake.accepted, intake.rate_per_s) == (40, 10.0)


def test_a_collector_that_ran_unseen_adds_nothing_at_first() -> None:
    counter = IntakeCounter()
    counter.count({"a": report(7)}, at_s=0.0)
    assert counter.count({"a": report(8), "b": report(1_000_000, uptime_s=900.0)}, at_s=10.0).accepted == 1


def test_a_collector_that_missed_a_question_is_counted_at_the_next() -> None:
    counter = IntakeCounter()
    counter.count({"a": report(5), "b": report(5)}, at_s=0.0)
    assert counter.count({"a": report(6)}, at_s=1.0).accepted == 1
    assert counter.count({"a": report(6), "b": report(9)}, at_s=2.0).accepted == 4


def test_a_collector_that_reports_no_count_makes_the_sum_unknown() -> None:
    counter = IntakeCounter()
    for at_s in (0.0, 1.0):
        intake = counter.count({"a": report(5), "old": report(None)}, at_s=at_s)
        assert (intake.accepted, intake.rate_per_s) == (None, None)
    nothing = counter.count({}, at_s=2.0)
    assert (nothing.accepted, nothing.rate_per_s) == (None, None)
