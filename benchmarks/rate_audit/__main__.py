"""The command behind `make rate-audit`: runs the cases, prints one table, and fails if any row does not hold."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.rate_audit import cases, report
from benchmarks.rate_audit.cases import Case, Scenario
from benchmarks.rate_audit.row import Row
from benchmarks.rate_audit.stage import opened
from eventflow.telemetry import logging
from sandbox.broker.node import NodeError, temporary_node

_PLAIN_WIDTH = 160  # without a terminal


def main(
    rate: Annotated[list[float] | None, typer.Option(help="R of the steady rows; may be repeated.")] = None,
    processors: Annotated[list[int] | None, typer.Option(help="N of steady and shopify rows; may be repeated.")] = None,
    scenario: Annotated[list[Scenario] | None, typer.Option(help="Scenario, may be repeated; else all.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the measurement of a steady row.")] = 10.0,
    quick: Annotated[bool, typer.Option("--quick", help="A few cases of each scenario, in 1.5 minutes.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    write_report: Annotated[bool, typer.Option("--report", help="Write the table to docs/rate-limiting.md.")] = False,
) -> None:
    """Check by the target's clock that any number of processors keep to one quota; 12 minutes.

    The exit status is 0 if every row holds or shows a full machine; otherwise 1.
    """
    logging.configure(service="rate-audit", log_format="console", level="error")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    if quick:
        planned = cases.quick(rate or [50], processors or [1, 4], measured_s=min(seconds, 5.0))
    else:
        planned = cases.whole(rate or [5, 50, 500, 2000], processors or [1, 2, 4, 8], measured_s=seconds)
    chosen = [case for case in planned if not scenario or case.scenario in scenario]
    started_s = time.monotonic()
    try:
        rows = _run_all(chosen, console)
    except NodeError as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(3)
    took_s = time.monotonic() - started_s
    console.print(report.terminal_table(rows))
    if json_file is not None:
        json_file.write_text(json.dumps(report.as_json(rows, seconds=took_s), indent=2) + "\n", encoding="utf-8")
    if write_report:
        report.write(report.section(rows, seconds=took_s))
    sys.exit(1 if any(row.failures for row in rows) else 0)


def _run_all(chosen: Sequence[Case], console: Console) -> list[Row]:
    """Run the cases in order on a private broker, and print each row when it is complete."""
    rows: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        temporary_node() as node,
    ):
        whole = progress.add_task("rate audit", total=len(chosen))
        for group in cases.side_by_side(chosen):
            for done in uvloop.run(_run_group(group, node.url, progress)):
                rows += done
                for row in done:
                    progress.console.print(report.line(row), markup=False, soft_wrap=True)
                progress.advance(whole)
    return rows


async def _run_group(group: Sequence[Case], broker_url: str, progress: Progress) -> list[list[Row]]:
    return await asyncio.gather(*(_run(case, broker_url, progress) for case in group))


async def _run(case: Case, broker_url: str, progress: Progress) -> list[Row]:
    name = f"{case.scenario}, R = {case.quota.rate_per_s:g}, N = {case.processors}"
    task = progress.add_task(name, total=None)
    try:
        async with opened(
            broker_url=broker_url,
            flow=f"audit{secrets.token_hex(4)}",
            quota=case.quota,
            behaviour=case.target,
            show_step=lambda doing: progress.update(task, description=f"{name}: {doing}"),
        ) as stage:
            return await case.run(stage)
    except Exception as error:  # noqa: BLE001 - any error is a row that fails, and the other cases still run
        return [case.failed(f"{type(error).__name__}: {error}")]
    finally:
        progress.remove_task(task)


if __name__ == "__main__":
    typer.run(main)
