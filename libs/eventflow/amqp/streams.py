"""Streams: followed from their last message on. Reading takes nothing away."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from aiormq.abc import DeliveredMessage

from eventflow.amqp.channel import RPC_TIMEOUT_S, answered, cancellation_of, open_channel, until_cancelled, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.queues import depth_of, measure
from eventflow.errors import BrokerUnavailableError
from eventflow.tasks import first_of

STREAM_PREFETCH = 100
STREAM_SILENCE_S = 0.5


async def follow_stream(
    connection: Connection,
    queue: str,
    *,
    on_body: Callable[[bytes], None],
    on_empty: Callable[[], None],
    silence_s: float,
) -> Callable[[], Coroutine[Any, Any, NoReturn]]:
    """Hand over the last messages of a stream and each that follows, or tell that there are none yet.

    A broker counts the messages of a stream with a delay of seconds. So a stream is taken for empty when the broker has
    counted none and nothing comes within `silence_s` either.

    Returns:
        What waits for the end of it, and then raises `BrokerUnavailableError`.

    Raises:
        BrokerUnavailableError: The broker refused it.
    """
    channel = await open_channel(connection)
    cancellation = cancellation_of(channel)

    has_come = asyncio.Event()

    async def deliver(message: DeliveredMessage) -> None:
        has_come.set()
        on_body(message.body)
        with suppress(Exception):  # an ack only asks for more; a lost connection tells its users itself
            await channel.basic_ack(message.delivery_tag or 0, wait=False)

    async def ended() -> NoReturn:
        await first_of(until_closed(channel), until_cancelled(cancellation))
        raise AssertionError("unreachable: both only raise")

    counted = (await measure(channel, queue)).messages
    what = f"follow {queue}"
    await answered(what, channel.basic_qos(prefetch_count=STREAM_PREFETCH))  # a stream demands one
    await answered(what, channel.basic_consume(queue, deliver, arguments={"x-stream-offset": "last"}))
    try:
        async with asyncio.timeout(RPC_TIMEOUT_S if counted else silence_s):
            await has_come.wait()
    except TimeoutError:
        if counted:
            raise BrokerUnavailableError(f"cannot {what}: {counted} messages, and none comes") from None
        on_empty()
    return ended


async def last_of_stream(connection: Connection, queue: str) -> bytes | None:
    """Return the last message of a stream, which stays there; None where it has none, or there is no such stream.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    if await depth_of(connection, queue) is None:
        return None
    bodies: asyncio.Queue[bytes | None] = asyncio.Queue()
    await follow_stream(
        connection,
        queue,
        on_body=bodies.put_nowait,
        on_empty=partial(bodies.put_nowait, None),
        silence_s=STREAM_SILENCE_S,
    )
    last = None
    with suppress(TimeoutError):  # what was published at the same time comes together
        while True:
            async with asyncio.timeout(STREAM_SILENCE_S):
                last = await bodies.get()
    return last
