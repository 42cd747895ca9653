"""`python -m benchmarks.rate_audit`: runs the cases, prints one table, and fails on any row that does not hold."""

import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from sandbox.broker.node import NodeError, PrivateNode

_PLAIN_WIDTH = 160  # where there is no terminal to fit


def main(
    rate: Annotated[list[float] | None, typer.Option(help="R of the steady rows; may be given several times.")] = None,
    processors: Annotated[list[int] | None, typer.Option(help="N of steady and shopify rows, likewise.")] = None,
    scenario: Annotated[list[Scenario] | None, typer.Option(help="Which; all if not given.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long a steady row is measured.")] = 10.0,
    quick: Annotated[bool, typer.Option("--quick", help="Something of everything, in 1.5 minutes.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there.")] = None,
    write_report: Annotated[bool, typer.Option("--report", help="Write the table to docs/rate-limiting.md.")] = False,
) -> None:
    """Audit at the target's clock whether any number of processors keep one quota; 12 minutes.

    The exit status is 0 when every row holds, a full machine aside; otherwise 1.
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
    """Run the cases on a broker of their own, in their order; tell of each row as soon as it is there."""
    rows: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        _broker() as broker_url,
    ):
        whole = progress.add_task("rate audit", total=len(chosen))
        for group in cases.side_by_side(chosen):
            for done in uvloop.run(_run_group(group, broker_url, progress)):
                rows += done
                for row in done:
                    progress.console.print(report.line(row), markup=False, soft_wrap=True)
                progress.advance(whole)
    return rows


@contextmanager
def _broker() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="eventflow-audit-", ignore_cleanup_errors=True) as directory:
        node = PrivateNode(Path(directory))
        node.start()
        try:
            yield node.url
        finally:
            node.kill()  # its data go anyway; an orderly stop takes 6 s


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
            tell=lambda doing: progress.update(task, description=f"{name}: {doing}"),
        ) as stage:
            return await case.run(stage)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a row that fails, and the others still follow
        return [case.failed(f"{type(error).__name__}: {error}")]
    finally:
        progress.remove_task(task)


if __name__ == "__main__":
    typer.run(main)
