"""The table for the terminal and for docs/reliability.md."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import markdown
from tests.chaos.harness import Run

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- make chaos-report: begin -->", "<!-- end -->"
COLUMNS = (
    "entry", "fault", "events/s", "accepted", "delivered", "dead", "duplicates", "recovered", "lost",
    "longest pause 202", "longest pause delivery", "seconds", "remarks",
)  # fmt: skip


def table(runs: Iterable[Run]) -> str:
    """Return the table of some runs."""
    return markdown.table(COLUMNS, map(_row, runs))


def line(run: Run) -> str:
    """Return a run as one line, for the progress."""
    verdict = run.verdict
    return (
        f"{'ok  ' if run.passed else 'FAIL'} {run.scenario.name}: accepted {verdict.accepted}, "
        f"delivered {verdict.delivered}, dead {verdict.dead}, duplicates {verdict.duplicates}, "
        f"recovered {len(verdict.recovered)}, lost {len(verdict.lost)}, "
        f"pauses {run.acceptance_gap_s:.1f} s and {run.delivery_gap_s:.1f} s, {run.seconds:.0f} s"
        f"{''.join(f'; {remark}' for remark in run.remarks)}"
    )


def write(section: str) -> None:
    """Write a section into docs/reliability.md."""
    markdown.write_section(PAGE, section, begin=BEGIN, end=END)


def _row(run: Run) -> Sequence[str]:
    verdict, scenario = run.verdict, run.scenario
    notes = [*([scenario.note] if scenario.note else []), *run.remarks]
    if verdict.waiting:
        notes.append(f"{verdict.waiting} still queued")
    return [
        scenario.entry or "-",
        scenario.name,
        f"{scenario.rate_per_s:g}",
        str(verdict.accepted),
        str(verdict.delivered),
        str(verdict.dead),
        f"{verdict.duplicates} ({verdict.duplicates_share:.2%})" if verdict.duplicates else "0",
        str(len(verdict.recovered)),
        str(len(verdict.lost)),
        f"{run.acceptance_gap_s:.1f} s",
        f"{run.delivery_gap_s:.1f} s",
        f"{run.seconds:.0f}",
        "; ".join(notes),
    ]
