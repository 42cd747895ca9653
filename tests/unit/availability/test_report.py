from dataclasses import replace
from pathlib import Path

import pytest

from tests.availability import report
from tests.availability.figures import above_quota, quota_used
from tests.availability.result import Goal, Run, broken_bounds
from tests.chaos.checker import History, check

EMPTY = History(accepted={"a"}, unaccepted=set(), delivered={"a": 1}, dead={}, waiting={})
RUN = Run(
    scenario="first",
    cluster="a cluster",
    goal=Goal(),
    events_per_s=200,
    quota_per_s=150,
    verdict=check(EMPTY),
    refused={},
    longest_wait_s=0.5,
    quota_used=0.99,
    above_quota=2,
    seconds=60,
    remarks=(),
    problems=(),
)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "availability.md"
    page.write_text("before <!-- make one: begin --><!-- make one: end --> after")
    monkeypatch.setattr(report, "PAGE", page)
    return page


def test_a_problem_of_several_lines_stays_in_its_cell(page: Path) -> None:
    report.write([replace(RUN, problems=("it failed:\nbad | worse",))], command="make one", order=["first"])
    (row,) = (line for line in page.read_text().splitlines() if line.startswith("| first"))
    assert "it failed: bad / worse" in row
    assert row.count("|") == len(report.COLUMNS) + 1


def test_rows_of_scenarios_that_did_not_run_stay_in_the_table(page: Path) -> None:
    order = ["first", "second", "third"]
    report.write([RUN, replace(RUN, scenario="third")], command="make one", order=order)
    report.write([replace(RUN, scenario="second"), replace(RUN, longest_wait_s=1.25)], command="make one", order=order)
    text = page.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| first", "| second", "| third"]
    assert "1.25 s" in rows[0]
    assert text.startswith("before <!-- make one: begin -->")
    assert text.endswith("<!-- make one: end --> after")


def test_rows_of_scenarios_that_no_longer_exist_leave_the_table(page: Path) -> None:
    report.write([RUN], command="make one", order=["first"])
    report.write([replace(RUN, scenario="second")], command="make one", order=["second"])
    assert "| first" not in page.read_text()


def test_each_broken_bound_of_a_goal_is_named() -> None:
    assert list(broken_bounds(RUN)) == []
    bad = replace(RUN, goal=Goal(above_max=5), refused={"503": 1}, longest_wait_s=3, quota_used=0.9, above_quota=9)
    assert list(broken_bounds(bad)) == [
        "1 refused, 0 allowed: {'503': 1}",
        "a 202 took 3.00 s, 2.5 s allowed",
        "90.0% of the quota used, 95% required",
        "9 requests above the quota, 5 allowed",
    ]


def test_a_quota_is_used_up_by_arrivals_at_its_rate() -> None:
    arrivals_s = [number / 10 for number in range(101)]
    assert quota_used(arrivals_s, from_s=0, until_s=10, per_s=10) == pytest.approx(1)
    assert quota_used(arrivals_s, from_s=5, until_s=10, per_s=20) == pytest.approx(0.5)


def test_requests_above_the_quota_are_counted_over_any_time() -> None:
    steady_s = [number / 10 for number in range(100)]
    assert above_quota(steady_s, per_s=10) == pytest.approx(1)
    twice_for_a_second_s = sorted([*steady_s, *(5 + number / 10 for number in range(10))])
    assert above_quota(twice_for_a_second_s, per_s=10) == pytest.approx(11, abs=1)
