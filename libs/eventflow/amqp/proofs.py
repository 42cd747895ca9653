"""Proofs that a user has a right, and that a majority of the brokers answers, by a request that needs it.

No proof takes a message from a queue or leaves anything behind.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelPreconditionFailed, DeliveryError

from eventflow.amqp.channel import answered, is_missing, is_refused, open_channel
from eventflow.amqp.connection import Connection
from eventflow.amqp.fanout import consume_fanout, declare_fanout, exchange_exists
from eventflow.errors import BrokerUnavailableError
from eventflow.topology import CONTROL_EXCHANGE, PREFIX, Lane, control_queue, lane_queue, lease_queue, overrides_queue

PUBLISH_MAX_S = 2.0
"""Time to wait for the answer to a publish: during an alarm the broker accepts none, so a refusal cannot be seen."""

NO_QUEUE = f"{PREFIX}.nobody"
"""Routing key of a message that only proves the right to publish. No queue has this name."""

IGNORED_BROADCAST = b'{"flow": "", "from": "", "kind": "probe"}'
"""Body for an exchange that processors listen to: it concerns no flow, so each of them ignores it."""


async def prove_publishing(connection: Connection, channel: Channel) -> None:
    """Return once the broker has confirmed a message that reaches no queue. During an alarm this waits for its end.

    Args:
        connection: The connection of the channel.
        channel: A confirm channel that nothing else publishes on.

    Raises:
        BrokerUnavailableError: This user may not publish to the default exchange, or the broker does not answer.
    """
    while True:
        try:
            await answered(
                "publish to the default exchange", channel.basic_publish(b"", exchange="", routing_key=NO_QUEUE)
            )
        except BrokerUnavailableError as error:
            # The alarm may have begun after the session did: then the broker took the message and stopped reading.
            if not (isinstance(error.__cause__, TimeoutError) and connection.wire.is_blocked):
                raise
        else:
            return


async def prove_broadcasting(channel: Channel, exchange: str) -> None:
    """Return unless the broker refuses a broadcast.

    A confirm needs the queue of every listener. If the node of one of them is cut off, there is no confirm, or a nack.
    The right to publish is checked before and refused at once, so neither concerns this user.

    Args:
        channel: A confirm channel on which the broker has just answered.
        exchange: A fanout exchange that processors listen to.

    Raises:
        BrokerUnavailableError: This user may not publish there, or the connection is lost.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(PUBLISH_MAX_S):
            try:
                await answered(f"publish to {exchange}", channel.basic_publish(IGNORED_BROADCAST, exchange=exchange))
            except BrokerUnavailableError as error:
                if not isinstance(error.__cause__, DeliveryError):
                    raise


async def prove_reading(connection: Connection, queue: str) -> None:
    """Return if this user may consume from a queue; no consumer is started, because it would take messages.

    Raises:
        BrokerUnavailableError: This user may not, or the broker does not answer.
    """
    channel = await open_channel(connection)
    # RabbitMQ checks the right first, then that the queue exists, then the arguments. This priority is no number, so
    # the request always fails, and the reason for which it fails is the answer.
    try:
        await answered(f"consume from {queue}", channel.basic_consume(queue, _ignore, arguments={"x-priority": ""}))
    except BrokerUnavailableError as error:
        if not (is_missing(error) or isinstance(error.__cause__, ChannelPreconditionFailed)):
            raise


async def prove_majority(channel: Channel, queue: str) -> None:
    """Return once a majority of a quorum queue's members has accepted a new consumer, which is cancelled again.

    A passive declare proves nothing: a leader that is cut off from all others answers it from memory. A new consumer is
    an entry in the queue's log, which needs a majority. Purging and `basic.get` need one too, but for them RabbitMQ
    closes the connection if the leader has just died, while a new consumer is offered to each member in turn.

    Args:
        channel: A channel to consume on. Messages that the consumer is sent stay unsettled until it is closed.
        queue: A quorum queue. Its log keeps neither entry once the consumer is cancelled.

    Raises:
        BrokerUnavailableError: No majority answers within 10 s, or the queue is gone, which closes the channel.
    """
    answer = await answered(f"reach a majority for {queue}", channel.basic_consume(queue, _ignore))
    await answered(f"leave {queue}", channel.basic_cancel(str(answer.consumer_tag)))


async def missing_rights(connection: Connection, flows: Sequence[str], *, instance: str) -> list[str]:
    """Return the broker's text for each action of the services that it refuses.

    The rights on the control exchange are only tried if it exists, because declaring it would create it.

    Args:
        connection: A connection that is used for nothing else afterwards.
        flows: The rights on the queues of these flows are tried.
        instance: Names a queue for a consumer of the control exchange, which is deleted with the connection.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    refusals = []
    for flow in flows:
        lanes = [lane_queue(flow, lane) for lane in Lane]
        for queue in (*lanes, lease_queue(flow), overrides_queue(flow)):
            refusals += await _refusal(prove_reading(connection, queue))
    broadcasts = await exchange_exists(connection, CONTROL_EXCHANGE)
    if broadcasts:
        refusals += await _refusal(_listen(connection, instance))
    # Publishes last: during an alarm the broker reads nothing more from a connection that has published.
    with suppress(TimeoutError):
        async with asyncio.timeout(PUBLISH_MAX_S):
            refusals += await _refusal(_publish(connection))
            if broadcasts:
                refusals += await _refusal(_broadcast(connection))
    return refusals


async def _listen(connection: Connection, instance: str) -> None:
    """Listen to the control exchange as a processor does."""
    channel = await open_channel(connection)
    await declare_fanout(channel, CONTROL_EXCHANGE)
    queue = control_queue(instance)
    await consume_fanout(channel, queue, exchange=CONTROL_EXCHANGE, on_body=lambda _: None)


async def _publish(connection: Connection) -> None:
    await prove_publishing(connection, await open_channel(connection, confirms=True))


async def _broadcast(connection: Connection) -> None:
    await prove_broadcasting(await open_channel(connection, confirms=True), CONTROL_EXCHANGE)


async def _refusal(trial: Awaitable[None]) -> list[str]:
    try:
        await trial
    except BrokerUnavailableError as error:
        if is_refused(error):
            return [str(error)]
        raise
    return []


async def _ignore(_: DeliveredMessage) -> None:
    """Do nothing with a delivery, so that it is requeued when its channel is closed."""
