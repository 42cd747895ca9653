"""Rights that a user lacks, found by trying what the services do. No message is taken, and nothing is left behind."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress

from eventflow.amqp import broker
from eventflow.amqp.publisher import NO_ANNOUNCEMENT
from eventflow.errors import BrokerUnavailableError
from eventflow.topology import CONTROL_EXCHANGE, Lane, control_queue, lane_queue, lease_queue, runtime_queue

PUBLISH_MAX_S = 2.0
"""During an alarm the broker takes no publish, so that no refusal can be seen."""


async def missing_rights(connection: broker.Connection, flows: Sequence[str], *, instance: str) -> list[str]:
    """Return the broker's words for each refusal; use the connection for nothing else afterwards.

    Rights on the exchange of the processors are only tried if it is there: declaring it would make it.

    Args:
        instance: Names a queue to listen on for a moment, as a processor does.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    refusals = []
    for flow in flows:
        lanes = [lane_queue(flow, lane) for lane in Lane]
        for queue in (*lanes, lease_queue(flow), runtime_queue(flow)):
            refusals += await _refusal(broker.prove_reading(connection, queue))
    exchanges = [""]
    if await broker.exists(connection, CONTROL_EXCHANGE):
        exchanges.append(CONTROL_EXCHANGE)
        refusals += await _refusal(_listen(connection, instance))
    # Last: during an alarm the broker reads nothing more from a connection that has published.
    for exchange in exchanges:
        with suppress(TimeoutError):
            async with asyncio.timeout(PUBLISH_MAX_S):
                refusals += await _refusal(_publish(connection, exchange))
    return refusals


async def _listen(connection: broker.Connection, instance: str) -> None:
    """Do all that a processor does to listen to the others; the queue goes with the connection."""
    channel = await broker.open_channel(connection)
    await broker.declare_fanout(channel, CONTROL_EXCHANGE)
    queue = control_queue(instance)
    await broker.consume_exclusively(channel, queue, exchange=CONTROL_EXCHANGE, on_body=lambda _: None)


async def _publish(connection: broker.Connection, exchange: str) -> None:
    channel = await broker.open_channel(connection, confirms=True)
    await broker.prove_publishing(connection, channel, exchange=exchange, body=NO_ANNOUNCEMENT)


async def _refusal(trial: Awaitable[None]) -> list[str]:
    try:
        await trial
    except BrokerUnavailableError as error:
        if broker.is_refused(error):
            return [str(error)]
        raise
    return []
