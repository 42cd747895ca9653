"""The command that sends sample events.

python -m sandbox.source --url http://127.0.0.1:8080/events --count 200 --rate 50 --api-key local-dev-key
python -m sandbox.source --local      sends to `make run-local`, and waits until all events are at the target
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from eventflow.cli.run_file import RunFile
from eventflow.service.program import run_program
from sandbox.source.bodies import SAMPLES, Body, read_directory, read_file
from sandbox.source.sending import Plan, Report, send
from sandbox.target.audit import Audit, Delivery

_PLAIN_LINES = 10  # progress without a terminal: about this many lines


def main(
    url: Annotated[str, typer.Option(help="URL of the collector's /events.")] = "http://127.0.0.1:8080/events",
    local: Annotated[bool, typer.Option("--local", help="Send to the collector of `make run-local`.")] = False,
    count: Annotated[int, typer.Option(min=1, help="Number of events.")] = 200,
    rate: Annotated[float, typer.Option(min=0, help="Events per second; 0 for as many as possible.")] = 100.0,
    burst: Annotated[int, typer.Option(min=1, help="Events sent at one moment.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Largest number of requests in flight.")] = 32,
    file: Annotated[Path | None, typer.Option(exists=True, help="File with the only body to send.")] = None,
    bodies: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Directory of *.json files to send in turn.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Value of the header X-Api-Key.", envvar="SANDBOX_API_KEY")
    ] = None,
    flow: Annotated[str | None, typer.Option(help="Name of the flow; without it, `default`.")] = None,
    audit: Annotated[
        str | None, typer.Option(help="URL of the target's /_audit; with it, wait for the delivery.")
    ] = None,
    deadline_s: Annotated[float, typer.Option(min=0, help="Longest wait for the delivery.")] = 120.0,
    retry: Annotated[int, typer.Option(min=0, help="Number of times to send a refused event again.")] = 0,
) -> None:
    """Send webhooks at a rate, and check that they are delivered.

    The exit status is 0 if every event was accepted and, with --audit, delivered; otherwise 1.
    """
    console = Console(highlight=False)
    settings: Mapping[str, str] = {}
    if local:
        running = RunFile.read()
        if running is None:
            console.print("Event Flow does not run here. Start it in another terminal:  make run-local", style="red")
            sys.exit(1)
        url, audit, api_key = running.events_url, running.audit_url, running.api_key
        settings = running.settings
    plan = Plan(
        url=url,
        count=count,
        rate_per_s=rate or None,
        burst=burst,
        concurrency=concurrency,
        bodies=_bodies(file, bodies),
        api_key=api_key,
        flow=flow,
        retries=retry,
    )
    try:
        complete = asyncio.run(_run(plan, audit, deadline_s, settings, console))
    except aiohttp.ClientError as error:
        console.print(f"The audit at {audit} does not answer: {error}", style="red")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if complete else 1)


def _bodies(file: Path | None, directory: Path | None) -> Sequence[Body]:
    if file is not None:
        return [read_file(file)]
    try:
        return read_directory(directory or SAMPLES)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from error


async def _run(
    plan: Plan, audit_url: str | None, deadline_s: float, settings: Mapping[str, str], console: Console
) -> bool:
    """Send, wait for the delivery and print both results; return whether all events were accepted and delivered.

    Args:
        settings: Variables of the processors, if they are known.
    """
    if audit_url is None:
        return _print_sent(await _send(plan, console), console)
    async with Audit(audit_url) as audit:
        accepted_before = (await audit.summary())["distinct_ids_accepted"]
        report = await _send(plan, console)
        all_accepted = _print_sent(report, console)
        if not report.accepted_ids:
            return False
        with _progress("delivered", len(report.accepted_ids), console) as moved_to:
            delivery = await audit.wait_for(
                report.accepted_ids,
                timeout_s=deadline_s,
                accepted_before=accepted_before,
                on_progress=moved_to,
            )
        _print_delivered(delivery, await audit.summary(), settings, console)
        return all_accepted and not delivery.lost_ids


async def _send(plan: Plan, console: Console) -> Report:
    answered = 0
    with _progress("sent", plan.count, console) as moved_to:

        def count(_: object) -> None:
            nonlocal answered
            answered += 1
            moved_to(answered)

        return await send(plan, on_sent=count)


@contextmanager
def _progress(what: str, total: int, console: Console) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the progress: a bar in a terminal, otherwise a line now and then."""
    if not console.is_terminal:
        shown = 0

        def show(done: int) -> None:
            nonlocal shown
            if done > shown and (done == total or (done - shown) * _PLAIN_LINES >= total):
                shown = done
                console.print(f"{what} {done}/{total}")

        yield show
        return
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def _print_sent(report: Report, console: Console) -> bool:
    accepted = len(report.accepted_ids)
    rows = [
        ("sent", f"{len(report.sent)} in {report.duration_s:.1f} s"),
        ("accepted (202)", str(accepted)),
        *((problem, str(count)) for problem, count in report.problems.most_common()),
        *(
            (f"latency {name}", f"{report.latency_s(quantile) * 1000:.1f} ms")
            for name, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        ),
    ]
    if report.max_late_s > 0.1:
        rows.append(("behind schedule", f"up to {report.max_late_s * 1000:.0f} ms: try a larger --concurrency"))
    _print_table("Collector", rows, console)
    return accepted == len(report.sent)


def _print_delivered(
    delivery: Delivery, summary: dict[str, Any], settings: Mapping[str, str], console: Console
) -> None:
    rows = [
        ("delivered", f"{delivery.delivered} of {delivery.expected}"),
        ("lost", str(len(delivery.lost_ids))),
        ("duplicates", str(delivery.duplicates)),
        ("highest in 1 s", explained_peak(summary["max_in_window"]["1"], summary["behaviour"], settings)),
        ("throttled (429)", str(summary["throttled"])),
    ]
    _print_table("Target", rows, console)
    if delivery.lost_ids:
        first, more = ", ".join(sorted(delivery.lost_ids)[:5]), ", ..." if len(delivery.lost_ids) > 5 else ""
        console.print(f"Not delivered within the deadline: {first}{more}", style="red")


def explained_peak(requests: int, target: Mapping[str, Any], settings: Mapping[str, str]) -> str:
    """Explain the highest number of requests in one second, which may exceed the rate by a burst.

    Args:
        requests: That number.
        target: The behaviour of the target: its limit.
        settings: The settings of the processors, which keep below this limit.
    """
    rate = float(settings.get("EVENTFLOW_TARGET__RATE_PER_S") or target["rate"])
    burst = float(settings.get("EVENTFLOW_TARGET__BURST") or target["burst"])
    if not rate:
        return f"{requests} (no limit)"
    return f"{requests} ({rate:g}/s and a burst of {burst:g} allow {rate + burst:g})"


def _print_table(title: str, rows: Sequence[tuple[str, str]], console: Console) -> None:
    table = Table(title=title, title_justify="left", show_header=False, min_width=40)
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)


if __name__ == "__main__":
    run_program(main)
