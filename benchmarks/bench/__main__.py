"""The command behind `make bench`: measures Event Flow beside its peers and its ceilings, one table for each group.

Exit status 1: a measurement failed, or the machine was busy with other work.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.bench import report, stage
from benchmarks.bench.figures import MeasureError, Section
from benchmarks.bench.groups import batches, delivery, growth, ingest, latency, spool, telemetry, workers
from benchmarks.bench.instruments import wrk
from benchmarks.bench.stage import Plan, Stage
from sandbox.broker.node import NodeError
from sandbox.broker.provision import print_notice

GROUPS: Mapping[str, Callable[[Stage], Section]] = {
    "ingest": ingest.measure,
    "batches": batches.measure,
    "workers": workers.measure,
    "delivery": delivery.measure,
    "latency": latency.measure,
    "growth": growth.measure,
    "telemetry": telemetry.measure,
    "spool": spool.measure,
}
_PLAIN_WIDTH = 160


def main(
    only: Annotated[list[str] | None, typer.Argument(help=f"Groups: {', '.join(GROUPS)}; without any, all.")] = None,
    quick: Annotated[bool, typer.Option(help="One short round: a functional test, not a measurement.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all measurements to this file.")] = None,
    write_report: Annotated[bool, typer.Option("--report", help="Write the tables to docs/performance.md.")] = False,
) -> None:
    """Compare the speed of Event Flow with its peers and ceilings."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    for name in only or ():
        if name not in GROUPS:
            raise typer.BadParameter(f"{name} is not one of {', '.join(GROUPS)}")
    try:
        wrk.ensure(print_notice)
        sections = _measure_all(only or list(GROUPS), stage.QUICK if quick else Plan(), console)
    except (MeasureError, NodeError) as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)
    console.print(report.goals_table(sections))
    if json_file is not None:
        json_file.write_text(report.as_json(sections), encoding="utf-8")
    if write_report:
        report.write(report.markdown(sections))
    sys.exit(0 if all(section.counts for section in sections) else 1)


def _measure_all(names: Sequence[str], plan: Plan, console: Console) -> list[Section]:
    sections = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        with stage.opened(plan, lambda doing: progress.update(task, description=doing)) as here:
            for name in names:
                section = _measured(name, here)
                sections.append(section)
                progress.console.print(report.table(section))
                for remark in report.remarks(section):
                    progress.console.print(remark, style="yellow", markup=False, soft_wrap=True)
    return sections


def _measured(name: str, here: Stage) -> Section:
    """Measure one group. If that fails, the others are still measured."""
    try:
        return GROUPS[name](here)
    except (MeasureError, NodeError, OSError) as error:
        return Section(name=name, title=name, problems=[str(error)])


if __name__ == "__main__":
    typer.run(main)
