"""The judgement of the rate audit, on arrivals that the tests make up."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import markdown
from benchmarks.cpu import Load
from benchmarks.rate_audit import cases, report
from benchmarks.rate_audit.cases import Case, Scenario
from benchmarks.rate_audit.figures import Quota, between, highest, latest_s, recovery_s, utilisation
from benchmarks.rate_audit.row import Row

SHOPIFY = Quota(rate_per_s=100, burst=1000, cost=50)


def ticks(start_s: float, end_s: float, every_s: float) -> list[float]:
    return [start_s + number * every_s for number in range(math.ceil((end_s - start_s) / every_s))]


def row(**figures: Any) -> Row:
    usual = {"utilisation": 1.0, "at_least": 0.98, "highest": 51, "bound": 52, "throttled": 0, "late_s": 0.0}
    return Row(scenario="steady", quota=Quota(rate_per_s=50), processors="1", **(usual | figures))


@pytest.mark.parametrize(
    ("quota", "processors", "bound"),
    [
        (Quota(rate_per_s=5), 1, 5 + 1 + 1),
        (Quota(rate_per_s=5), 8, 5 + 8 + 1),
        (Quota(rate_per_s=2000), 1, 2000 + 1 + 40),
        (Quota(rate_per_s=2000, burst=100), 8, 2000 + 100 + 40),
        (SHOPIFY, 4, 20 + 2),
    ],
)
def test_bound_is_rate_and_burst_and_a_tolerance_in_requests(quota: Quota, processors: int, bound: int) -> None:
    assert quota.bound(processors) == bound


@given(
    phases=st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=8),
    rate_per_s=st.sampled_from([5.0, 50.0, 400.0]),
    length_s=st.floats(min_value=8, max_value=12),
)
def test_steady_shares_use_all_of_the_quota_whatever_their_phases(
    phases: list[float], rate_per_s: float, length_s: float
) -> None:
    quota = Quota(rate_per_s=rate_per_s)
    period_s = quota.period_s(len(phases))
    arrivals_s = sorted(itertools.chain(*(ticks(phase * period_s, 20, period_s) for phase in phases)))
    used = utilisation(arrivals_s, start_s=5, end_s=5 + length_s, per_s=rate_per_s, fade_s=period_s)
    assert used == pytest.approx(1, abs=1e-6)


def test_a_pause_amid_the_time_costs_its_share() -> None:
    arrivals_s = [at_s for at_s in ticks(0, 20, 0.01) if not 10 <= at_s < 11]
    assert utilisation(arrivals_s, start_s=5, end_s=15, per_s=100) == pytest.approx(0.9, abs=0.002)


def test_highest_window_is_found_wherever_it_is() -> None:
    arrivals_s = sorted([*ticks(0, 10, 0.1), *ticks(4.95, 5.0, 0.01)])
    assert highest(arrivals_s) == 15


@pytest.mark.parametrize("dip_s", [0.0, 1.0, 4.2])
def test_recovery_is_the_time_from_which_on_no_window_is_too_low(dip_s: float) -> None:
    arrivals_s = [*ticks(0, 10, 0.01), *ticks(10, 10 + dip_s, 0.0125), *ticks(10 + dip_s, 25, 0.01)]
    recovered_s = recovery_s(arrivals_s, since_s=10, until_s=20, per_s=100, share=0.95)
    # A fifth is missing in the dip, and 2 s that hold no more than half a second of it are above 95 %.
    assert recovered_s == pytest.approx(max(0.0, dip_s - 0.5), abs=0.1)


def test_what_never_recovers_takes_all_the_time_that_it_was_watched() -> None:
    arrivals_s = [*ticks(0, 10, 0.01), *ticks(10, 25, 0.0125)]
    assert recovery_s(arrivals_s, since_s=10, until_s=20, per_s=100, share=0.95) > 7.5


def test_only_stalls_within_the_time_make_the_target_late() -> None:
    stalls_s = [(1.0, 0.5), (2.0, 0.02), (3.0, 0.04), (9.0, 0.9)]
    assert latest_s(stalls_s, start_s=1.5, end_s=5.0) == 0.04
    assert latest_s(stalls_s, start_s=4.0, end_s=5.0) == 0.0


def test_between_does_not_count_the_end() -> None:
    assert between([1.0, 2.0, 3.0], 1.0, 3.0) == [1.0, 2.0]


def test_a_row_holds_at_its_bounds() -> None:
    assert row(highest=52, utilisation=0.98).verdict == "holds"


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"highest": 53}, "1 over the bound"),
        ({"throttled": 1}, "1 times 429"),
        ({"utilisation": 0.979}, "below 98%"),
        ({"problems": ["2 dead letters"]}, "2 dead letters"),
    ],
)
def test_a_row_that_does_not_hold_says_why(figures: dict[str, Any], words: str) -> None:
    failing = row(**figures)
    assert failing.failures
    assert failing.verdict == f"FAILS: {words}"


def test_a_full_machine_excuses_a_low_utilisation_and_nothing_else() -> None:
    full = Load(own=1.5, busiest=0.97, machine=1.6)
    assert row(utilisation=0.6, load=full).verdict == "machine full"
    assert row(utilisation=0.6, load=Load(own=0.5, busiest=0.3, machine=0.6)).failures
    assert row(utilisation=0.6, load=full, highest=60).failures


def test_only_light_cases_run_side_by_side_and_none_is_left_out() -> None:
    whole = list(cases.whole([5, 50, 500, 2000], [1, 2, 4, 8], measured_s=10))
    groups = list(cases.side_by_side(whole))
    assert list(itertools.chain(*groups)) == whole
    for group in groups:
        assert len(group) == 1 or sum(case.quota.requests_per_s for case in group) <= cases.SIDE_BY_SIDE_PER_S
        assert len(group) == 1 or sum(case.processors for case in group) <= cases.SIDE_BY_SIDE_PROCESSORS


def test_everything_is_audited_by_default() -> None:
    whole = list(cases.whole([5, 50, 500, 2000], [1, 2, 4, 8], measured_s=10))

    def figures(scenario: Scenario) -> set[tuple[float, int]]:
        return {(case.quota.rate_per_s, case.processors) for case in whole if case.scenario is scenario}

    assert figures(Scenario.STEADY) == set(itertools.product([5, 50, 500, 2000], [1, 2, 4, 8]))
    assert figures(Scenario.SHOPIFY) == {(100, 1), (100, 2), (100, 4)}
    assert figures(Scenario.LOWERED) == {(50, 2), (500, 4)}
    assert figures(Scenario.SCALING) == {(100, 5)}


def test_a_case_that_breaks_off_is_a_row_that_fails() -> None:
    case: Case = next(cases.whole([5], [1], measured_s=1))
    assert case.failed("TimeoutError: waited").verdict == "FAILS: TimeoutError: waited"


def test_every_row_fills_every_column() -> None:
    assert len(report.cells(row())) == len(report.COLUMNS)


def test_a_section_replaces_what_was_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- z -->\nafter\n")
    markdown.write_section(page, "new", begin="<!-- a -->", end="<!-- z -->")
    assert page.read_text() == "before\n<!-- a -->\n\nnew\n\n<!-- z -->\nafter\n"
    with pytest.raises(ValueError, match="has no <!-- b -->"):
        markdown.write_section(page, "new", begin="<!-- b -->", end="<!-- z -->")
