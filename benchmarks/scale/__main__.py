"""`python -m benchmarks.scale`: starts many flows and processors, and measures their cost without any event."""

import resource
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.scale import report
from benchmarks.scale.figures import Figures, Size
from benchmarks.scale.measuring import measure
from eventflow import __version__
from sandbox.broker.node import NodeError

FILES_OF_A_FLOW = 34
"""Open files that RabbitMQ reserves: three for each queue. If it has none left, it accepts no connection."""


def main(
    flows: Annotated[int, typer.Option(min=1, help="Number of flows. Each needs 34 open files.")] = 500,
    processors: Annotated[int, typer.Option(min=1, help="Number of processors; each serves all flows.")] = 16,
    collectors: Annotated[int, typer.Option(min=1, help="Number of collectors.")] = 1,
    idle_s: Annotated[float, typer.Option("--seconds", min=1, help="Length of the measurement.")] = 60.0,
    version: Annotated[str, typer.Option(help="Name of the column.")] = __version__,
    before: Annotated[list[Path] | None, typer.Option(help="Figures of an earlier run; may be repeated.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    write_report: Annotated[bool, typer.Option("--report", help="Write the tables to docs/sizing.md.")] = False,
    model_only: Annotated[bool, typer.Option("--model", help="Show only the model on paper.")] = False,
) -> None:
    """Measure the cost of many flows and processors, on a private RabbitMQ; some minutes with the defaults.

    No event is sent. The tables show the parts in the broker, the time of the start, memory, CPU time and requests.
    """
    console = Console(highlight=False)
    if model_only:
        console.print(report.modelled(report.ON_PAPER), markup=False, soft_wrap=True)
        return
    files, limit = flows * FILES_OF_A_FLOW, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files > limit:
        raise typer.BadParameter(f"{flows} flows need {files} open files, and this shell allows {limit} (ulimit -n)")
    size = Size(flows=flows, processors=processors, collectors=collectors)
    try:
        with console.status("starting") as status:
            figures = measure(size, version=version, idle_s=idle_s, show_step=status.update)
    except NodeError as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(3)
    runs = [*(Figures.read(file) for file in before or ()), figures]
    console.print(report.section(runs), markup=False, soft_wrap=True)
    if json_file is not None:
        figures.write(json_file)
    if write_report:
        report.write(report.section(runs))


if __name__ == "__main__":
    typer.run(main)
