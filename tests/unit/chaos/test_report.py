"""The tables of the chaos suite: a part of the scenarios replaces its own rows only."""

from pathlib import Path

import pytest

from benchmarks import markdown
from tests.chaos import report
from tests.chaos.catalogue import MUTANTS, SCENARIOS
from tests.chaos.checker import History, check
from tests.chaos.harness import Run
from tests.chaos.scenario import Scenario


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "reliability.md"
    page.write_text(f"before {report.BEGIN}{report.END} after")
    monkeypatch.setattr(report, "PAGE", page)
    return page


def run_of(scenario: Scenario, *, seed: int, lost: int = 0) -> Run:
    ids = {f"load-{number}" for number in range(10)}
    found = dict.fromkeys(sorted(ids)[lost:], 1)
    return Run(
        scenario=scenario,
        seed=seed,
        verdict=check(History(accepted=ids, unaccepted=set(), delivered=found, dead={}, waiting={})),
        acceptance_gap_s=0.1,
        delivery_gap_s=0.2,
        seconds=20.4,
        remarks=("a remark",),
        problems=(),
    )


def test_rows_of_other_scenarios_stay_and_are_counted(page: Path) -> None:
    first, second, *_ = SCENARIOS
    report.write([run_of(second, seed=1), run_of(first, seed=1), run_of(MUTANTS[0], seed=1, lost=3)])
    report.write([run_of(second, seed=2)])
    rows = list(markdown.rows_of(page.read_text()))
    assert [(row["fault"], row["seed"]) for row in rows] == [
        (first.name, "1"),
        (second.name, "2"),
        (MUTANTS[0].name, "1"),
    ]
    assert [row["lost"] for row in rows] == ["0", "0", "3"]
    assert "2 faults, 20 events accepted, **0 lost**" in page.read_text()
    assert page.read_text().startswith("before ")
    assert page.read_text().endswith(" after")


def test_rows_of_scenarios_that_exist_no_longer_leave(page: Path) -> None:
    report.write([run_of(SCENARIOS[0], seed=1)])
    page.write_text(page.read_text().replace(SCENARIOS[0].name, "an old name"))
    report.write([run_of(SCENARIOS[1], seed=2)])
    assert [row["seed"] for row in markdown.rows_of(page.read_text())] == ["2"]


def test_a_row_from_before_a_column_was_added_keeps_its_cells(page: Path) -> None:
    old = markdown.table(["fault", "accepted", "lost", "seconds"], [[SCENARIOS[0].name, "7", "0", "3"]])
    page.write_text(f"{report.BEGIN}\n{old}\n{report.END}")
    report.write([])
    (row,) = markdown.rows_of(page.read_text())
    assert (row["accepted"], row["seed"]) == ("7", "")


def test_every_scenario_has_a_name_of_its_own() -> None:
    names = [scenario.name for scenario in [*SCENARIOS, *MUTANTS]]
    assert len(set(names)) == len(names)
