"""Times every query of the history on a week of 2 million attempts, and the writing of more.

The command is `python -m benchmarks.history URL`. The URL is that of an empty store, or of one that an earlier run has
filled.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.history.filling import cost_us, fill
from benchmarks.history.queries import FLOW, Query, queries
from eventflow.errors import HistoryLateError
from eventflow.history.filters import AttemptFilter
from eventflow.history.opening import open_history
from eventflow.history.store import HistoryStore

REPETITIONS = 5


def main(
    url: Annotated[str, typer.Argument(help="The store: sqlite:///PATH or postgresql://...")],
    attempts: Annotated[int, typer.Option(min=1000, help="Attempts with which an empty store is filled.")] = 2_000_000,
) -> None:
    """Fill an empty store with a week of attempts, and time every query."""
    asyncio.run(_run(url, attempts))


async def _run(url: str, attempts: int) -> None:
    store = open_history(url)
    try:
        await store.migrate()
        until = await _filled_until(store, attempts)
        table = Table("query", "rows", "median ms", "slowest ms")
        for name, query in (await queries(store, until=until)).items():
            table.add_row(name, *await _measured(query))
        console = Console()
        console.print(table)
        console.print(f"writing: {await cost_us(store, since=until):.1f} us of this process for an attempt")
    finally:
        await store.close()


async def _filled_until(store: HistoryStore, attempts: int) -> datetime:
    """Fill the store if it is empty; return the end of its week."""
    if not await store.attempts(AttemptFilter(flow=FLOW), limit=1):
        started_s = time.monotonic()
        await fill(store, attempts=attempts, until=datetime.now(UTC))
        print(f"filled with {attempts} attempts in {time.monotonic() - started_s:.0f} s")
    [latest] = await store.attempts(AttemptFilter(flow=FLOW), limit=1)
    return latest.started_at


async def _measured(query: Query) -> tuple[str, str, str]:
    times_ms = []
    rows = 0
    for _ in range(REPETITIONS):
        started_s = time.perf_counter()
        try:
            rows = len(await query())
        except HistoryLateError:
            return "-", "-", "too late"
        times_ms.append((time.perf_counter() - started_s) * 1000)
    return str(rows), f"{statistics.median(times_ms):.1f}", f"{max(times_ms):.1f}"


if __name__ == "__main__":
    typer.run(main)
