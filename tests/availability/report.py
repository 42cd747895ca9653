"""The tables of docs/availability.md, one for each kind of cluster, and lines for the terminal."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import markdown
from tests.availability.result import Goal, Run

PAGE = Path(__file__).parents[2] / "docs" / "availability.md"
COLUMNS = (
    "what happens", "cluster", "events/s", "quota/s", "seconds", "accepted", "lost", "duplicates", "refused",
    "longest wait for a 202", "quota used", "above the quota", "goal", "reached", "remarks",
)  # fmt: skip


def line(run: Run) -> str:
    """Return a run as one line."""
    verdict = run.verdict
    figures = (
        f"accepted {verdict.accepted}, lost {len(verdict.lost)}, duplicates {verdict.duplicates}",
        f"refused {sum(run.refused.values())}, longest wait {run.longest_wait_s:.2f} s",
        f"quota used {run.quota_used:.1%}, above it {run.above_quota:.0f}, {run.seconds:.0f} s",
        *run.remarks,
        *run.problems,
    )
    return f"{'ok  ' if run.holds else 'FAIL'} {run.scenario}: {'; '.join(figures)}"


def write(runs: Sequence[Run], *, command: str, order: Sequence[str]) -> None:
    """Write the rows of some scenarios into the table of a command; the other rows stay.

    Args:
        command: Command that made the runs; its markers enclose the table.
        order: Names of all scenarios in the order of the table. Rows of other scenarios are removed.
    """
    begin, end = f"<!-- {command}: begin -->", f"<!-- {command}: end -->"
    before = markdown.rows_of(markdown.read_section(PAGE, begin=begin, end=end))
    rows: dict[str, Sequence[str]] = {row[COLUMNS[0]]: [*row.values()] for row in before}
    rows |= {run.scenario: _row(run) for run in runs}
    section = markdown.table(COLUMNS, [rows[name] for name in order if name in rows])
    markdown.write_section(PAGE, section, begin=begin, end=end)


def _row(run: Run) -> Sequence[str]:
    verdict, goal = run.verdict, run.goal
    refused = "; ".join(f"{count} x {reason}" for reason, count in run.refused.items())
    cells = [
        run.scenario,
        run.cluster,
        f"{run.events_per_s:g}",
        "-" if run.quota_per_s is None else f"{run.quota_per_s:g}",
        f"{run.seconds:.0f}",
        str(verdict.accepted),
        str(len(verdict.lost)),
        str(verdict.duplicates),
        f"{sum(run.refused.values())}{f' ({refused})' if refused else ''}",
        f"{run.longest_wait_s:.2f} s",
        "-" if goal.quota_min is None else f"{run.quota_used:.1%}",
        "-" if run.quota_per_s is None else f"{run.above_quota:.0f}",
        _goal(goal),
        "yes" if run.holds else f"**no**: {'; '.join(run.problems) or 'events lost'}",
        "; ".join(run.remarks),
    ]
    # The output of a command that failed can have several lines, and the mark between two cells.
    return [" ".join(cell.replace("|", "/").split()) for cell in cells]


def _goal(goal: Goal) -> str:
    bounds = [f"refused <= {goal.refused_max}" if goal.refused_max else "none refused"]
    if goal.wait_max_s is not None:
        bounds.append(f"wait <= {goal.wait_max_s:g} s")
    if goal.quota_min is not None:
        bounds.append(f"quota used >= {goal.quota_min:.0%}")
    if goal.above_max is not None:
        bounds.append(f"above the quota <= {goal.above_max:g}")
    return ", ".join(bounds)
