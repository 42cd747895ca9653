"""The command behind `make bench`: measures Event Flow beside its peers and its ceilings, one table for each group.

Exit status 1: a measurement failed, or the machine was busy with other work.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.bench import report, stage
from benchmarks.bench.contestants import go
from benchmarks.bench.figures import MeasureError, Section
from benchmarks.bench.groups import batches, delivery, growth, history, ingest, latency, soak, spool, telemetry, workers
from benchmarks.bench.instruments import wrk
from benchmarks.bench.stage import Plan, ShowStep, Stage
from sandbox.broker.node import NodeError
from sandbox.broker.provision import BrokerNotAvailable
from sandbox.provided import print_notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Measurements that belong together, with their usual duration."""

    measure: Callable[[Stage], Section]
    minutes: float


GROUPS: Mapping[str, Group] = {
    "ingest": Group(measure=ingest.measure, minutes=4),
    "batches": Group(measure=batches.measure, minutes=0.5),
    "workers": Group(measure=workers.measure, minutes=0.5),
    "delivery": Group(measure=delivery.measure, minutes=4.5),
    "latency": Group(measure=latency.measure, minutes=3.5),
    "growth": Group(measure=growth.measure, minutes=5.5),
    "telemetry": Group(measure=telemetry.measure, minutes=4),
    "history": Group(measure=history.measure, minutes=2.5),
    "spool": Group(measure=spool.measure, minutes=1.5),
    "soak": Group(measure=soak.measure, minutes=21),
}
_PLAIN_WIDTH = 160
_LINE_EVERY_S = 60.0


def main(
    only: Annotated[
        list[str] | None,
        typer.Argument(help=f"Groups: {', '.join(GROUPS)}; without any, all but soak, which takes 20 minutes."),
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="One short round (soak: 3 minutes): a functional test, not a measurement.")
    ] = False,
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
        machine, sections = _measure_all(only, stage.QUICK if quick else Plan(), console)
    except (MeasureError, NodeError, BrokerNotAvailable) as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)
    console.print(report.goals_table(sections))
    if json_file is not None:
        json_file.write_text(report.as_json(sections, machine), encoding="utf-8")
    if write_report:
        report.write(sections, machine)
    sys.exit(0 if all(section.counts for section in sections) else 1)


def _measure_all(only: Sequence[str] | None, plan: Plan, console: Console) -> tuple[report.Machine, list[Section]]:
    go_peer = go.ensure(print_notice)
    sections = []
    with _progress(console) as show_step, stage.opened(plan, show_step, go_peer=go_peer) as here:
        machine = report.machine(rabbitmq=here.broker_version, go=None if go_peer is None else go.version(go_peer))
        names = only or list(_usual_groups(here))
        if plan is not stage.QUICK:
            minutes = sum(GROUPS[name].minutes for name in names)
            console.print(f"This takes about {minutes:.0f} minutes. Run nothing else on this machine meanwhile.")
        for name in names:
            section = _measured(name, here)
            sections.append(section)
            console.print(report.table(section))
            for remark in report.remarks(section):
                console.print(remark, style="yellow", markup=False, soft_wrap=True)
    return machine, sections


def _usual_groups(here: Stage) -> Iterator[str]:
    """Yield the groups of a run that names none: not the long one, nor one that cannot be measured with this broker."""
    for name in GROUPS:
        if name != "soak" and (name != "spool" or here.node is not None):
            yield name


@contextmanager
def _progress(console: Console) -> Iterator[ShowStep]:
    """Show the current step while the context lasts; without a terminal, print a line a minute for a long one."""
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        printed_s = 0.0

        def show_step(step: str, *, share: float | None = None) -> None:
            nonlocal printed_s
            progress.update(task, description=step, total=None if share is None else 1, completed=share or 0)
            if share is not None and not console.is_terminal and time.monotonic() > printed_s + _LINE_EVERY_S:
                printed_s = time.monotonic()
                console.print(step, markup=False)

        yield show_step


def _measured(name: str, here: Stage) -> Section:
    """Measure one group. If that fails, the others are still measured."""
    try:
        return GROUPS[name].measure(here)
    except (MeasureError, NodeError, OSError) as error:
        return Section(name=name, title=name, problems=[str(error)])


if __name__ == "__main__":
    typer.run(main)
