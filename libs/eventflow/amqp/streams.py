"""Streams, read from their last message on. Reading removes nothing, so every reader gets the same messages."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from eventflow.amqp.channel import RPC_TIMEOUT_S, answered, cancellation_of, open_channel, until_cancelled, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.queues import depth_of, measure
from eventflow.errors import BrokerUnavailableError
from eventflow.tasks import first_of

STREAM_PREFETCH = 100
STREAM_SILENCE_S = 0.5
"""Silence after which a reader has reached the end of the stream."""


async def follow_stream(
    connection: Connection,
    queue: str,
    *,
    on_body: Callable[[bytes], None],
    on_empty: Callable[[], None],
    silence_s: float,
) -> Callable[[], Coroutine[Any, Any, NoReturn]]:
    """Read the last messages of a stream and each that follows; return when the first has arrived, or if none exists.

    A broker counts the messages of a stream with a delay of seconds. So a stream is taken as empty only if the broker
    counts no message and none arrives within `silence_s`.

    Args:
        connection: The connection to read on.
        queue: The stream.
        on_body: Called with the body of each message.
        on_empty: Called if the stream is empty.
        silence_s: Time to wait for a message that the broker has not counted.

    Returns:
        A coroutine function that waits until reading ends, and then raises `BrokerUnavailableError`.

    Raises:
        BrokerUnavailableError: The broker refused it, or delivers nothing although it counts messages.
    """
    return await _follow(await open_channel(connection), queue, on_body=on_body, on_empty=on_empty, silence_s=silence_s)


async def _follow(
    channel: Channel,
    queue: str,
    *,
    on_body: Callable[[bytes], None],
    on_empty: Callable[[], None],
    silence_s: float,
) -> Callable[[], Coroutine[Any, Any, NoReturn]]:
    cancellation = cancellation_of(channel)  # before consuming, so that no cancellation is missed
    has_come = asyncio.Event()

    async def deliver(message: DeliveredMessage) -> None:
        has_come.set()
        on_body(message.body)
        # An ack of a stream settles nothing and only asks for more messages. A lost connection is noticed by `ended`.
        with suppress(Exception):
            await channel.basic_ack(message.delivery_tag or 0, wait=False)

    async def ended() -> NoReturn:
        await first_of(until_closed(channel), until_cancelled(cancellation))
        raise AssertionError("unreachable: both only raise")

    counted = (await measure(channel, queue)).messages
    action = f"follow {queue}"
    await answered(action, channel.basic_qos(prefetch_count=STREAM_PREFETCH))  # RabbitMQ requires one for a stream
    # "last" is the last chunk, not the last message: older messages of the chunk come first, and the latest one counts.
    await answered(action, channel.basic_consume(queue, deliver, arguments={"x-stream-offset": "last"}))
    try:
        async with asyncio.timeout(RPC_TIMEOUT_S if counted else silence_s):
            await has_come.wait()
    except TimeoutError:
        if counted:
            raise BrokerUnavailableError(f"cannot {action}: {counted} messages, and none is delivered") from None
        on_empty()
    return ended


async def last_of_stream(connection: Connection, queue: str) -> bytes | None:
    """Return the last message of a stream; None if it has none, or if there is no such stream.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    if await depth_of(connection, queue) is None:
        return None
    channel = await open_channel(connection)
    bodies: asyncio.Queue[bytes | None] = asyncio.Queue()
    await _follow(
        channel,
        queue,
        on_body=bodies.put_nowait,
        on_empty=partial(bodies.put_nowait, None),
        silence_s=STREAM_SILENCE_S,
    )
    last = None
    with suppress(TimeoutError):  # several may come, the last one at the end
        while True:
            async with asyncio.timeout(STREAM_SILENCE_S):
                last = await bodies.get()
    await answered("close a channel", channel.close())
    return last
