"""Rights, and a majority of brokers, proved by trying. No message is taken, and nothing is left behind."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelPreconditionFailed

from eventflow.amqp.channel import answered, is_missing, is_refused, open_channel
from eventflow.amqp.connection import Connection, is_blocked
from eventflow.amqp.fanout import consume_fanout, declare_fanout, exchange_exists
from eventflow.errors import BrokerUnavailableError
from eventflow.topology import CONTROL_EXCHANGE, PREFIX, Lane, control_queue, lane_queue, lease_queue, overrides_queue

PUBLISH_MAX_S = 2.0
"""During an alarm the broker takes no publish, so that no refusal can be seen."""

NO_QUEUE = f"{PREFIX}.nobody"
"""Routing key of messages that only prove the right to publish."""

NO_BROADCAST = b'{"flow": "", "from": "", "kind": "probe"}'
"""Concerns no flow, so that every processor passes it over."""


async def prove_publishing(connection: Connection, channel: Channel, *, exchange: str = "", body: bytes = b"") -> None:
    """Return once the broker has taken a message that no queue gets, however long an alarm keeps it from that.

    Args:
        channel: A confirm channel that nothing else publishes on.
        exchange: The default exchange, or one behind which `body` is ignored.

    Raises:
        BrokerUnavailableError: This user may not publish there, or the broker does not answer.
    """
    what = f"publish to {exchange or 'the default exchange'}"
    while True:
        try:
            await answered(what, channel.basic_publish(body, exchange=exchange, routing_key=NO_QUEUE))
        except BrokerUnavailableError as error:
            if not (isinstance(error.__cause__, TimeoutError) and is_blocked(connection)):
                raise
        else:
            return


async def prove_reading(connection: Connection, queue: str) -> None:
    """Return if this user may consume from a queue, without a consumer that would take something.

    RabbitMQ looks at rights before it looks for the queue, and for the queue before it looks at arguments. One that it
    takes for wrong makes it refuse to consume in any case, and the reason is the answer.

    Raises:
        BrokerUnavailableError: This user may not, or the broker does not answer.
    """
    channel = await open_channel(connection)
    try:
        await answered(f"consume from {queue}", channel.basic_consume(queue, _ignore, arguments={"x-priority": ""}))
    except BrokerUnavailableError as error:
        if not (is_missing(error) or isinstance(error.__cause__, ChannelPreconditionFailed)):
            raise


async def prove_majority(channel: Channel, queue: str) -> None:
    """Return once a majority of a quorum queue's members has agreed to something; `queue` must be empty for ever.

    A passive declare is answered by the leader that the asked node knows, out of its own memory, also by one that is
    cut off from all others. A new consumer is entered in the queue's log, which takes a majority. Its end is a second
    entry, after which the queue forgets both. Purging and `basic.get` need a majority too, but RabbitMQ closes the
    connection if the leader has just died; a new consumer is offered to each member in turn.

    Raises:
        BrokerUnavailableError: No majority answers within 10 s, or the queue is gone, which closes the channel.
    """
    answer = await answered(f"reach a majority for {queue}", channel.basic_consume(queue, _ignore, no_ack=True))
    await answered(f"leave {queue}", channel.basic_cancel(str(answer.consumer_tag)))


async def missing_rights(connection: Connection, flows: Sequence[str], *, instance: str) -> list[str]:
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
        for queue in (*lanes, lease_queue(flow), overrides_queue(flow)):
            refusals += await _refusal(prove_reading(connection, queue))
    exchanges = [""]
    if await exchange_exists(connection, CONTROL_EXCHANGE):
        exchanges.append(CONTROL_EXCHANGE)
        refusals += await _refusal(_listen(connection, instance))
    # Last: during an alarm the broker reads nothing more from a connection that has published.
    for exchange in exchanges:
        with suppress(TimeoutError):
            async with asyncio.timeout(PUBLISH_MAX_S):
                refusals += await _refusal(_publish(connection, exchange))
    return refusals


async def _listen(connection: Connection, instance: str) -> None:
    """Do all that a processor does to listen to the others; the queue goes with the connection."""
    channel = await open_channel(connection)
    await declare_fanout(channel, CONTROL_EXCHANGE)
    queue = control_queue(instance)
    await consume_fanout(channel, queue, exchange=CONTROL_EXCHANGE, on_body=lambda _: None)


async def _publish(connection: Connection, exchange: str) -> None:
    channel = await open_channel(connection, confirms=True)
    await prove_publishing(connection, channel, exchange=exchange, body=NO_BROADCAST)


async def _refusal(trial: Awaitable[None]) -> list[str]:
    try:
        await trial
    except BrokerUnavailableError as error:
        if is_refused(error):
            return [str(error)]
        raise
    return []


async def _ignore(_: DeliveredMessage) -> None:
    """Do nothing with a delivery: it was taken before the library saw it."""
