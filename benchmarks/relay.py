"""Rows per second that relays publish from an outbox (`python -m benchmarks.relay`).

PostgreSQL and RabbitMQ are private servers with their data on the disk of the temporary directory, so that each COMMIT
and each confirm waits for it.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import asyncpg
import typer

from benchmarks.cpu import Usage
from benchmarks.markdown import table
from eventflow.operations import databases
from eventflow.postgres.connection import Connection
from sandbox.broker.node import PrivateNode
from sandbox.database.server import PrivateServer
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess, scrubbed_environment

FLOW = "default"
POLL_S = 0.01
READY_S = 30.0

_FILL = """
    INSERT INTO eventflow.outbox (flow, type, content_type, body)
    SELECT $1, 'order.paid', 'application/json', $2 FROM generate_series(1, $3)
"""


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Rows that are published in each measurement.")] = 30_000,
    body_bytes: Annotated[int, typer.Option(min=1, help="Size of a body.")] = 330,
    relays: Annotated[list[int] | None, typer.Option(help="Number of relays; may be repeated.")] = None,
) -> None:
    """Measure one relay, and two side by side; about a minute."""
    with _servers() as (node, server):
        asyncio.run(databases.migrate(server.url))
        measured = [asyncio.run(_relayed(node, server, each, rows, body_bytes)) for each in relays or [1, 2]]
        print(table(["relays", "rows/s", "CPU time of the relays for a row"], measured, justify="rrr"))


@contextmanager
def _servers() -> Iterator[tuple[PrivateNode, PrivateServer]]:
    with TemporaryDirectory(prefix="eventflow-relay-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        place.chmod(0o711)  # PostgreSQL, which does not run as root, must reach its data
        node, server = PrivateNode(place / "broker"), PrivateServer(place / "database", is_durable=True)
        node.start()
        try:
            server.start()
            try:
                yield node, server
            finally:
                server.stop()
        finally:
            node.kill()


async def _relayed(node: PrivateNode, server: PrivateServer, count: int, rows: int, body_bytes: int) -> list[str]:
    """Publish rows that are committed at once while relays wait; return a line of the table."""
    async with _connected(server.url) as connection:
        relays = [_relay(node.url, server.url) for _ in range(count)]
        try:
            for relay in relays:
                relay.start()
            for relay in relays:
                await _until_logged(relay, "database.answered")
            before_s = _cpu_s(relays)
            await connection.execute(_FILL, FLOW, bytes(body_bytes), rows)
            began_s = time.monotonic()
            while await connection.fetchval("SELECT EXISTS (SELECT FROM eventflow.outbox)"):  # noqa: ASYNC110 - a table
                await asyncio.sleep(POLL_S)
            elapsed_s = time.monotonic() - began_s
            cpu_us = (_cpu_s(relays) - before_s) / rows * 1e6
        finally:
            for relay in relays:
                relay.stop()
    return [str(count), f"{rows / elapsed_s:.0f}", f"{cpu_us:.0f} us"]


def _cpu_s(relays: Sequence[ChildProcess]) -> float:
    return sum(usage.cpu_s for relay in relays if (usage := Usage.of(relay.pid)) is not None)


def _relay(broker_url: str, database_url: str) -> ChildProcess:
    environment = scrubbed_environment() | {
        "EVENTFLOW_BROKER__URL": broker_url,
        "EVENTFLOW_RELAY__DATABASE_URL": database_url,
        "EVENTFLOW_RELAY__ADMIN_HOST": LOOPBACK,
        "EVENTFLOW_RELAY__ADMIN_PORT": str(free_port()),
    }
    return ChildProcess("relay", [sys.executable, "-m", "eventflow_relay"], env=environment)


async def _until_logged(relay: ChildProcess, event: str) -> None:
    ends_s = time.monotonic() + READY_S
    while not any(event in line for line in relay.tail()):
        if not relay.alive or time.monotonic() > ends_s:
            raise SystemExit(relay.explain("a relay did not start"))
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


if __name__ == "__main__":
    typer.run(main)
