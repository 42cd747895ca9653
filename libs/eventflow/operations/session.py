"""Broker connections of an operation: one for reading and settling, another for publishing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eventflow.amqp.connection import Connection, closing, connect_to_any, shown_url
from eventflow.amqp.publisher import Publisher
from eventflow.errors import BrokerUnavailableError
from eventflow.service.instance import name_instance
from eventflow.tasks import cancel_and_wait
from eventflow.topology import QueueSpec

CONNECTED_WITHIN_S = 2.0
"""A person waits for the connection, and a broker that can be used needs milliseconds."""

PUBLISHER_READY_S = 10.0
"""Longest wait for queues to be declared, after the broker has answered."""

PUBLISHER_POLL_S = 0.02

CONFIRM_TIMEOUT_S = 10.0
"""Longest wait for the confirm of one publish."""

NO_PUBLISHING = {
    "blocked": "it has a memory or disk alarm",
    "refused": "this user lacks a right, which `eventflow check` names",
}
"""The states of a publisher that do not end by themselves soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A connection and the URL that it was made to."""

    connection: Connection
    url: str


@asynccontextmanager
async def connected(urls: Sequence[str]) -> AsyncIterator[Link]:
    """Connect to the first broker that answers within 2 s.

    Raises:
        BrokerUnavailableError: None answers; the message is that of the last one.
    """
    try:
        async with asyncio.timeout(CONNECTED_WITHIN_S):
            url, connection = await connect_to_any(urls, name=instance())
    except TimeoutError:
        places = ", ".join(map(shown_url, urls))
        raise BrokerUnavailableError(f"cannot connect to {places}: no answer within {CONNECTED_WITHIN_S:g} s") from None
    async with closing(connection):
        yield Link(connection=connection, url=url)


@asynccontextmanager
async def publishing(
    link: Link, specs: Sequence[QueueSpec], *, fanouts: Sequence[str] = ()
) -> AsyncIterator[Publisher]:
    """Yield a publisher that has connected and declared its queues.

    Args:
        link: An open connection. A publisher connects persistently, so a broker that is away must be detected before.
        specs: Queues to declare.
        fanouts: Exchanges to declare, for `broadcast`.

    Raises:
        BrokerUnavailableError: The connection was lost, or an alarm or a missing right prevents publishing.
        TopologyMismatchError: A queue exists with other arguments.
    """
    publisher = Publisher([link.url], specs=specs, fanouts=fanouts, name=f"{instance()} publish")
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
        if publisher.state in NO_PUBLISHING:
            break
        await asyncio.sleep(PUBLISHER_POLL_S)
    raise BrokerUnavailableError(f"cannot publish: {NO_PUBLISHING.get(publisher.state, 'no connection')}")


def instance() -> str:
    """Return a new name for a connection of an operator."""
    return name_instance("eventflow")
