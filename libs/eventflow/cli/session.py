"""Broker connections of a command: one for reading and settling, another for publishing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eventflow.amqp.connection import Connection, closing, connect_to_any
from eventflow.amqp.publisher import Publisher
from eventflow.errors import BrokerUnavailableError
from eventflow.service.instance import name_instance
from eventflow.tasks import cancel_and_wait
from eventflow.topology import QueueSpec

PUBLISHER_READY_S = 10.0
PUBLISHER_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A connection and the URL that it was made to."""

    connection: Connection
    url: str


@asynccontextmanager
async def connected(urls: Sequence[str]) -> AsyncIterator[Link]:
    """Connect to the first broker that answers.

    Raises:
        BrokerUnavailableError: None answers; the message is that of the last one.
    """
    url, connection = await connect_to_any(urls, name=instance())
    async with closing(connection):
        yield Link(connection=connection, url=url)


@asynccontextmanager
async def publishing(
    urls: Sequence[str], specs: Sequence[QueueSpec], *, fanouts: Sequence[str] = ()
) -> AsyncIterator[Publisher]:
    """Yield a publisher that has connected and declared its queues.

    Raises:
        BrokerUnavailableError: No connection, or an alarm that blocks publishing.
        TopologyMismatchError: A queue exists with other arguments.
    """
    publisher = Publisher(urls, specs=specs, fanouts=fanouts, name=f"{instance()} publish")
    running = asyncio.create_task(publisher.run())
    try:
        await _until_up(publisher, running)
        yield publisher
    finally:
        await cancel_and_wait(running)


async def _until_up(publisher: Publisher, running: "asyncio.Task[None]") -> None:
    for _ in range(round(PUBLISHER_READY_S / PUBLISHER_POLL_S)):
        if publisher.state == "up":
            return
        if running.done():
            running.result()
        if publisher.state == "refused":
            break
        await asyncio.sleep(PUBLISHER_POLL_S)
    reasons = {
        "blocked": "it has a memory or disk alarm",
        "refused": "this user lacks a right, which `eventflow check` names",
    }
    raise BrokerUnavailableError(f"cannot publish: {reasons.get(publisher.state, 'no connection')}")


def instance() -> str:
    """Return a new name for a connection of this command."""
    return name_instance("eventflow")
