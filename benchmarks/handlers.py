"""Measures the cost of inbox and outbox for an event, in the process of the handler and in the server.

The command is `python -m benchmarks.handlers postgresql://USER:PASSWORD@HOST/DATABASE`. The database is empty and on
this machine. Its tables are removed at the end.
"""

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable
from itertools import count, product
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple, cast

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from eventflow.event import Event, utc_now
from eventflow.handling.context import Context
from eventflow.handling.inbox import key_of
from eventflow.handling.loading import Function
from eventflow.handling.transactions.opening import open_url
from eventflow.handling.transactions.port import Transaction, Transactions
from eventflow.handling.transactions.statements import Limits

ROUNDS = 5
_EFFECT = "INSERT INTO effects VALUES ($1)"
_TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
_NUMBERS = count()

Work = Callable[[Transactions, Event], Awaitable[None]]


class Cost(NamedTuple):
    """Times in microseconds: of this process, of the server, and of the clock."""

    client_us: float
    server_us: float
    wall_us: float


def main(
    url: Annotated[str, typer.Argument(help="An empty database.")],
    events: Annotated[int, typer.Option(min=100, max=1000, help="Events in each of the rounds.")] = 1000,
) -> None:
    """Print the median of some rounds for an event without an inbox, with one, and with a row in the outbox too.

    Each is measured without and with `HANDLER__PREPARED_STATEMENTS`.
    """
    asyncio.run(_run(url, events))


async def _run(url: str, events: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE effects (id text)")
    try:
        table = Table("prepared", "work", "this process us", "server us", "from start to end us")
        works = {"effect": _effect, "effect, inbox": _inbox, "effect, inbox, outbox": _outbox}
        for prepares, (name, work) in product((False, True), works.items()):
            costs = await _costs_of(work, url, events, prepares=prepares)
            table.add_row(
                "yes" if prepares else "no", name, *(f"{median(each):.0f}" for each in zip(*costs, strict=True))
            )
        Console().print(table)
    finally:
        await connection.execute("DROP TABLE effects; DROP SCHEMA IF EXISTS eventflow CASCADE")
        await connection.close()


async def _costs_of(work: Work, url: str, events: int, *, prepares: bool) -> list[Cost]:
    """Measure some rounds over connections of their own: the pool replaces a connection after 50 000 queries."""
    function = Function(call=main, is_async=True, file="")
    opened = await open_url(
        url,
        function,
        connections_max=1,
        prepares=prepares,
        limits=Limits.of(30.0),
        application="eventflow-benchmark",
    )
    transactions = cast("Transactions", opened.transactions)
    try:
        await opened.database.require()
        return [await _cost_of(work, transactions, events) for _ in range(ROUNDS)]
    finally:
        await transactions.close()
        await opened.database.close()


async def _cost_of(work: Work, transactions: Transactions, events: int) -> Cost:
    """Handle some events one after the other, on one connection."""
    await work(transactions, _event())  # connects
    server = await _server_process(transactions)
    before = Cost(_cpu_us(), _cpu_us_of(server), time.perf_counter() * 1e6)
    for _ in range(events):
        await work(transactions, _event())
    after = Cost(_cpu_us(), _cpu_us_of(server), time.perf_counter() * 1e6)
    return Cost(*((until - since) / events for since, until in zip(before, after, strict=True)))


async def _effect(transactions: Transactions, event: Event) -> None:
    transaction = await transactions.begin()
    await transaction.db.execute(_EFFECT, event.id)
    await transaction.commit()
    await transaction.end()


async def _inbox(transactions: Transactions, event: Event) -> None:
    await _handle(await transactions.begin(), event, emits=False)


async def _outbox(transactions: Transactions, event: Event) -> None:
    await _handle(await transactions.begin(), event, emits=True)


async def _handle(transaction: Transaction, event: Event, *, emits: bool) -> None:
    assert await transaction.claim(key_of(event, flow="orders"))
    context = Context(event=event, flow="orders", flows=("orders", "notify"), db=transaction.db)
    await transaction.db.execute(_EFFECT, event.id)
    body = {"order": 1, "state": "paid"}
    await transaction.put([context.derive(type="order.paid", flow="notify", body=body)] if emits else [])
    await transaction.commit()
    await transaction.end()


def _event() -> Event:
    now = utc_now()
    return Event(id=f"{next(_NUMBERS)}", source="/bench", type="order", time=now, accepted_at=now, body=b"{}")


async def _server_process(transactions: Transactions) -> int:
    transaction = await transactions.begin()
    process = int(await transaction.db.fetchval("SELECT pg_backend_pid()"))
    await transaction.end()
    return process


def _cpu_us() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1e6


def _cpu_us_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_US


if __name__ == "__main__":
    typer.run(main)
