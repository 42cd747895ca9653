"""The command that posts orders to `make run-example`, some of them twice, and follows all of them to their end.

python -m sandbox.shop.orders --count 50 --rate 20
"""

import asyncio
import json
import random
import secrets
import sys
from collections.abc import Sequence
from typing import Annotated

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from eventflow.cli.run_file import RunFile
from eventflow.service.program import run_program
from sandbox.shop.database import Booked, booked_in
from sandbox.shop.environment import DATABASE_VARIABLE
from sandbox.source.bodies import Body
from sandbox.source.sending import Plan, Report, send
from sandbox.target.audit import Audit, Delivery

_ARTICLES = ("lamp", "chair", "lamp", "chair", "table")
_TWICE_EVERY = 3


def main(
    count: Annotated[int, typer.Option(min=1, help="Number of orders.")] = 50,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests per second.")] = 20.0,
    deadline_s: Annotated[float, typer.Option(min=0, help="Longest wait for the notifications.")] = 120.0,
) -> None:
    """Post orders, every third of them twice, and wait until each is booked and its customer is notified.

    The exit status is 0 if every order was accepted, none was booked twice, and every notification has arrived.
    """
    console = Console(highlight=False)
    running = RunFile.read()
    if running is None or DATABASE_VARIABLE not in running.settings:
        console.print("The shop does not run here. Start it in another terminal:  make run-example", style="red")
        sys.exit(1)
    try:
        is_complete = asyncio.run(_run(running, _orders(count), rate, deadline_s, console))
    except aiohttp.ClientError as error:
        console.print(f"The audit at {running.audit_url} does not answer: {error}", style="red")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if is_complete else 1)


def _orders(count: int) -> list[Body]:
    """Return the requests of as many orders, in any order, with the repetitions of some."""
    run = secrets.token_hex(3)
    requests: list[Body] = []
    for number in range(count):
        name = f"{run}-{number}"
        order = {"id": name, "article": _ARTICLES[number % len(_ARTICLES)], "pieces": 1}
        body = Body(name=name, content=json.dumps(order).encode())
        requests += [body] * (2 if number % _TWICE_EVERY == 0 else 1)
    random.shuffle(requests)
    return requests


async def _run(
    running: RunFile, requests: Sequence[Body], rate_per_s: float, deadline_s: float, console: Console
) -> bool:
    """Post the orders, wait for the end of each, and print the result; return whether all is as it must be."""
    plan = Plan(
        url=running.events_url, count=len(requests), rate_per_s=rate_per_s, bodies=requests, api_key=running.api_key
    )
    async with Audit(running.audit_url) as audit:
        accepted_before = (await audit.summary())["distinct_ids_accepted"]
        report = await send(plan)
        orders = sorted({sent.body for sent in report.sent if sent.accepted})
        # The first event that a handler derives has the id of its own event and `/0`.
        notifications = {f"{order}/0" for order in orders}
        console.print(f"{len(report.sent)} requests were answered. Waiting for {len(notifications)} notifications ...")
        delivery = await audit.wait_for(notifications, timeout_s=deadline_s, accepted_before=accepted_before)
    booked = await booked_in(running.settings[DATABASE_VARIABLE], orders)
    _print(report, len(orders), booked, delivery, console)
    return not (report.problems or booked.doubles or delivery.lost_ids)


def _print(report: Report, orders: int, booked: Booked, delivery: Delivery, console: Console) -> None:
    table = Table(title="Orders", title_justify="left", show_header=False, min_width=40)
    rows = {
        "requests": len(report.sent),
        **{f"refused: {problem}": count for problem, count in report.problems.most_common()},
        "orders": orders,
        "booked": booked.orders,
        "booked twice": booked.doubles,
        "refused, because sold out": orders - booked.orders,
        "customers notified": delivery.delivered,
        "notified twice, with the same id": delivery.duplicates,
        "not notified within the deadline": len(delivery.lost_ids),
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    console.print(table)


if __name__ == "__main__":
    run_program(main)
