"""The tables for the terminal and for docs/reliability.md."""

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import markdown
from tests.chaos.catalogue import HANDLER_MUTANTS, HANDLER_SCENARIOS, MUTANTS, SCENARIOS
from tests.chaos.handlers.harness import HandlerRun
from tests.chaos.harness import Run

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- make chaos-report: begin -->", "<!-- end -->"
NAME = "fault"
"""Column with the name of a scenario."""

AnyRun = Run | HandlerRun
Row = Mapping[str, str]
"""Cells by the heads of their columns."""

COLUMNS: Mapping[str, Callable[[Run], str]] = {
    "entry": lambda run: run.scenario.entry or "-",
    NAME: lambda run: run.scenario.name,
    "events/s": lambda run: f"{run.scenario.rate_per_s:g}",
    "accepted": lambda run: str(run.verdict.accepted),
    "delivered": lambda run: str(run.verdict.delivered),
    "dead": lambda run: str(run.verdict.dead),
    "duplicates": lambda run: _with_share(run.verdict.duplicates, of=run.verdict.accepted),
    "recovered": lambda run: str(len(run.verdict.recovered)),
    "lost": lambda run: str(len(run.verdict.lost)),
    "longest pause 202": lambda run: f"{run.acceptance_gap_s:.1f} s",
    "longest pause delivery": lambda run: f"{run.delivery_gap_s:.1f} s",
    "seconds": lambda run: f"{run.seconds:.0f}",
    "seed": lambda run: str(run.seed),
    "remarks": lambda run: "; ".join(_remarks(run)),
}

HANDLER_COLUMNS: Mapping[str, Callable[[HandlerRun], str]] = {
    NAME: lambda run: run.scenario.name,
    "events/s": lambda run: f"{run.scenario.rate_per_s:g}",
    "accepted": lambda run: str(run.verdict.accepted),
    "effects": lambda run: str(run.verdict.effects),
    "effects lost": lambda run: str(len(run.verdict.effects_lost)),
    "effects doubled": lambda run: str(len(run.verdict.effects_doubled)),
    "skipped": lambda run: str(run.skipped),
    "emitted": lambda run: str(run.verdict.emitted),
    "emitted lost": lambda run: str(len(run.verdict.emitted_lost)),
    "emitted without effect": lambda run: str(len(run.verdict.emitted_unexpected)),
    "emitted again": lambda run: _with_share(sum(run.verdict.repeats.values()), of=run.verdict.emitted),
    "left": lambda run: str(run.verdict.left),
    "longest pause effect": lambda run: f"{run.effect_gap_s:.1f} s",
    "longest pause delivery": lambda run: f"{run.delivery_gap_s:.1f} s",
    "seconds": lambda run: f"{run.seconds:.0f}",
    "seed": lambda run: str(run.seed),
    "remarks": lambda run: "; ".join([*([run.scenario.note] if run.scenario.note else []), *run.remarks]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One of the tables.

    Attributes:
        columns: Functions that make the cells of a run, by the heads of the columns.
        order: Names of its scenarios.
        summary: Makes the text in front of it, from its rows.
    """

    columns: Mapping[str, Callable[[Any], str]]
    order: Sequence[str]
    summary: Callable[[Sequence[Row]], str]

    def row(self, run: AnyRun) -> Row:
        return {head: cell(run) for head, cell in self.columns.items()}

    def text(self, rows: Mapping[str, Row]) -> str:
        """Return the table with those of its scenarios that have a row; empty if none has one."""
        chosen = [rows[name] for name in self.order if name in rows]
        if not chosen:
            return ""
        lines = [[row.get(head, "") for head in self.columns] for row in chosen]
        return f"{self.summary(chosen)}\n\n{markdown.table(list(self.columns), lines)}"


def line(run: AnyRun) -> str:
    """Return a run as one line, for the progress."""
    figures = ", ".join(f"{head} {cell}" for head, cell in _row(run).items() if cell and head not in {"entry", NAME})
    return f"{'ok  ' if run.passed else 'FAIL'} {run.scenario.name}: {figures}"


def section(runs: Iterable[AnyRun]) -> str:
    """Return the tables of some runs."""
    return _section({run.scenario.name: _row(run) for run in runs})


def write(runs: Iterable[AnyRun]) -> None:
    """Write the rows of some runs into docs/reliability.md. The rows of other scenarios of the catalogue stay."""
    before = markdown.rows_of(markdown.read_section(PAGE, begin=BEGIN, end=END))
    rows: dict[str, Row] = {row[NAME]: row for row in before}
    rows |= {run.scenario.name: _row(run) for run in runs}
    markdown.write_section(PAGE, _section(rows), begin=BEGIN, end=END)


def _section(rows: Mapping[str, Row]) -> str:
    return "\n\n".join(text for table in _TABLES if (text := table.text(rows)))


def _row(run: AnyRun) -> Row:
    return next(table for table in _TABLES if run.scenario.name in table.order).row(run)


def _with_share(count: int, *, of: int) -> str:
    return f"{count} ({count / of:.2%})" if count else "0"


def _remarks(run: Run) -> Sequence[str]:
    note, waiting = run.scenario.note, run.verdict.waiting
    return [*([note] if note else []), *run.remarks, *([f"{waiting} still queued"] if waiting else [])]


def _summary(rows: Sequence[Row]) -> str:
    accepted, lost, seconds = (sum(int(row[head]) for row in rows) for head in ("accepted", "lost", "seconds"))
    return (
        f"{len(rows)} faults, {accepted} events accepted, **{lost} lost**, in {seconds / 60:.0f} min on "
        f"{os.cpu_count()} cores, Python {platform.python_version()}."
    )


def _summary_of_handlers(rows: Sequence[Row]) -> str:
    accepted, lost, doubled, emitted_lost = (
        sum(int(row[head]) for row in rows) for head in ("accepted", "effects lost", "effects doubled", "emitted lost")
    )
    return (
        f"Handlers with a database, and relays: {len(rows)} faults, {accepted} events accepted, **{lost} effects lost, "
        f"{doubled} doubled, {emitted_lost} emitted events lost**."
    )


def _summary_of_handler_mutants(_: Sequence[Row]) -> str:
    return "Processors and relays that are broken on purpose: an effect is lost or doubled, or an emitted event lost:"


def _summary_of_mutants(_: Sequence[Row]) -> str:
    return "Services that are broken on purpose, under the same check, which must find a loss:"


_TABLES = (  # the order on the page
    Table(columns=COLUMNS, order=[each.name for each in SCENARIOS], summary=_summary),
    Table(columns=COLUMNS, order=[each.name for each in MUTANTS], summary=_summary_of_mutants),
    Table(columns=HANDLER_COLUMNS, order=[each.name for each in HANDLER_SCENARIOS], summary=_summary_of_handlers),
    Table(
        columns=HANDLER_COLUMNS,
        order=[each.name for each in HANDLER_MUTANTS],
        summary=_summary_of_handler_mutants,
    ),
)
