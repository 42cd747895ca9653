"""Fanout exchanges: a message reaches every process that listens at that moment, and is not kept for any other."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from eventflow.amqp.channel import answered, is_missing, open_channel
from eventflow.amqp.connection import Connection
from eventflow.errors import BrokerUnavailableError


async def declare_fanout(channel: Channel, exchange: str) -> None:
    """Declare a durable fanout exchange.

    Raises:
        BrokerUnavailableError: The broker refused it or does not answer.
    """
    await answered(
        f"declare exchange {exchange}", channel.exchange_declare(exchange, exchange_type="fanout", durable=True)
    )


async def exchange_exists(connection: Connection, exchange: str) -> bool:
    """Whether an exchange exists.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    channel = await open_channel(connection)
    try:
        await answered(f"look up exchange {exchange}", channel.exchange_declare(exchange, passive=True))
    except BrokerUnavailableError as error:
        if is_missing(error):
            return False
        raise
    await answered("close a channel", channel.close())
    return True


async def consume_fanout(channel: Channel, queue: str, *, exchange: str, on_body: Callable[[bytes], None]) -> None:
    """Declare an exclusive queue, which the broker deletes with the connection, bind it, and consume without acks.

    Args:
        channel: The channel to consume on.
        queue: The name of the new queue.
        exchange: The exchange to bind it to.
        on_body: Called with the body of each message.

    Raises:
        BrokerUnavailableError: The broker refused it, or an earlier connection of ours still holds the queue.
    """

    async def deliver(message: DeliveredMessage) -> None:
        on_body(message.body)

    action = f"listen on {queue}"
    await answered(action, channel.queue_declare(queue, exclusive=True, auto_delete=True))
    await answered(action, channel.queue_bind(queue, exchange))
    await answered(action, channel.basic_consume(queue, deliver, no_ack=True))


async def send_fanout(channel: Channel, body: bytes, *, exchange: str) -> None:
    """Publish to all present listeners of a declared exchange. The message is not kept; its loss is not reported."""
    with suppress(Exception, asyncio.CancelledError):  # the library raises either at the end of a connection
        await channel.basic_publish(body, exchange=exchange, wait=False)
