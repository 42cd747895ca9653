"""The model and the tables of many flows and processors."""

from pathlib import Path

from benchmarks.scale import model, report, stage
from benchmarks.scale.figures import Figures, Size

RECORDED = Path(report.__file__).parent / "recorded" / "before.json"


def numbers(size: Size) -> dict[str, float]:
    return {each.name: each.now for each in model.counts(size)}


def test_the_model_counts_the_parts_that_were_measured_in_the_version_before() -> None:
    figures = Figures.read(RECORDED)
    before = {each.name: each.before for each in model.counts(figures.size)}
    assert before["queues"] == figures.parts.queues
    assert before["connections"] == figures.parts.connections
    assert before["consumers"] == figures.parts.consumers


def test_idle_requests_of_a_processor_do_not_grow_with_the_flows() -> None:
    few, many = numbers(Size(flows=1000, processors=2)), numbers(Size(flows=10_000, processors=2))
    for name in ("requests/s without events", "entries/s in the logs of quorum queues", "connections"):
        assert few[name] == many[name]
    assert many["queues"] > 9 * few["queues"]


def test_figures_survive_a_file_and_fill_both_tables(tmp_path: Path) -> None:
    figures = Figures.read(RECORDED)
    figures.write(tmp_path / "figures.json")
    assert Figures.read(tmp_path / "figures.json") == figures
    section = report.section([figures, figures])
    assert "| 20 flows" not in section
    assert "before: 20 flows x 2" in section
    assert "1 000 flows, 200 processors, 100 collectors" in section


def test_the_settings_of_a_run_name_every_flow_and_its_delays() -> None:
    text = stage.configuration_of(Size(flows=3, processors=1, retry_delays=2))
    assert [line for line in text.splitlines() if line.endswith(".target]")] == [
        "[flows.f0000.target]",
        "[flows.f0001.target]",
        "[flows.f0002.target]",
    ]
    assert "retry_delays_s = [1, 5]" in text
