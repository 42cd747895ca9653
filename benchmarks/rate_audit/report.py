"""The table for the terminal, for docs/rate-limiting.md, and as JSON."""

import dataclasses
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks import markdown
from benchmarks.cpu import CORES
from benchmarks.rate_audit.row import Row

PAGE = Path(__file__).parents[2] / "docs" / "rate-limiting.md"
BEGIN, END = "<!-- make rate-audit-report: begin -->", "<!-- end -->"
COLUMNS = (
    "scenario", "R", "burst", "cost", "N", "used", "highest 1 s", "bound", "over", "429", "late", "cores", "verdict",
    "remarks",
)  # fmt: skip
WORDY = {"scenario", "verdict", "remarks"}


def terminal_table(rows: Sequence[Row]) -> Table:
    """Return the table for a terminal; failed rows are red."""
    table = Table(
        title="One quota at the target's clock", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column in COLUMNS:
        table.add_column(column, no_wrap=column not in WORDY)
    for row in rows:
        table.add_row(*cells(row), style="red" if row.failures else None)
    return table


def section(rows: Sequence[Row], *, seconds: float) -> str:
    """Return the section of docs/rate-limiting.md about a run."""
    holding = sum(not row.failures for row in rows)
    summary = (
        f"{holding} of {len(rows)} rows hold, in {seconds / 60:.0f} min on {CORES} cores, "
        f"Python {platform.python_version()}."
    )
    return f"{summary}\n\n{markdown.table(COLUMNS, map(cells, rows))}"


def write(text: str) -> None:
    """Write a section into docs/rate-limiting.md."""
    markdown.write_section(PAGE, text, begin=BEGIN, end=END)


def as_json(rows: Sequence[Row], *, seconds: float) -> dict[str, Any]:
    """Return all figures of a run."""
    return {
        "cores": CORES,
        "python": platform.python_version(),
        "system": platform.platform(),
        "seconds": round(seconds, 1),
        "rows": [dataclasses.asdict(row) | {"verdict": row.verdict, "holds": not row.failures} for row in rows],
    }


def line(row: Row) -> str:
    """Return a row as one line, for the progress of a run."""
    return ", ".join(f"{column} {cell}" for column, cell in zip(COLUMNS, cells(row), strict=True) if cell)


def cells(row: Row) -> list[str]:
    """Return the cells of a row."""
    quota = row.quota
    return [
        row.scenario,
        f"{quota.rate_per_s:g}",
        f"{quota.burst:g}",
        f"{quota.cost:g}",
        row.processors,
        f"{row.utilisation:.1%}",
        str(row.highest),
        str(row.bound),
        f"{row.excess:+d}",
        str(row.throttled),
        f"{row.late_s * 1000:.0f} ms",
        f"{row.load.own:.2f} / {row.load.machine:.2f}" if row.load else "",
        row.verdict,
        "; ".join(row.remarks),
    ]
