"""Streams, read from their last message on. Reading removes nothing, so every reader gets the same messages."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn, cast

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from eventflow.amqp.channel import RPC_TIMEOUT_S, answered, cancellation_of, open_channel, until_cancelled, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.queues import depth_of, measure
from eventflow.errors import BrokerUnavailableError
from eventflow.tasks import first_of

STREAM_PREFETCH = 100
FOLLOW_TIMEOUT_S = 20
"""Time limit of each request that begins to read a stream. If a node is silent, RabbitMQ 4.3 waits for it in these
requests: until it notices the loss (19 s with `net_ticktime` 15), and then 7 s in each call of its coordinator."""

STREAM_SILENCE_S = 0.5
"""Silence after which a reader has reached the end of the stream."""


class StreamReader:
    """Reads any number of streams over one channel."""

    def __init__(self, channel: Channel) -> None:
        """Take a channel that nothing else uses."""
        self._channel = channel
        self._cancellation = cancellation_of(channel)  # before consuming, so that no cancellation is missed
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Prepare the channel. Call this before `follow`."""
        # RabbitMQ requires a prefetch for a stream. It counts separately for each consumer.
        await answered("set a prefetch", self._channel.basic_qos(prefetch_count=STREAM_PREFETCH))

    async def follow(
        self, queue: str, *, on_message: Callable[[int, bytes], None], on_empty: Callable[[], None], silence_s: float
    ) -> None:
        """Read the last messages of a stream and each that follows; return when the first has arrived, or none exists.

        A broker counts the messages of a stream with a delay of seconds. So a stream is taken as empty only if the
        broker counts no message and none arrives within `silence_s`.

        Args:
            queue: The stream.
            on_message: Called with the offset of each message in the stream, and its body.
            on_empty: Called if the stream is empty.
            silence_s: Time to wait for a message that the broker has not counted.

        Raises:
            BrokerUnavailableError: The broker refused it, or delivers nothing although it counts messages.
        """
        channel = self._channel
        has_come = asyncio.Event()

        async def deliver(message: DeliveredMessage) -> None:
            has_come.set()
            headers = message.header.properties.headers or {}
            on_message(cast("int", headers["x-stream-offset"]), message.body)
            # An ack of a stream settles nothing and only asks for more messages. A lost connection is noticed by
            # `until_ended`.
            with suppress(Exception):
                await channel.basic_ack(message.delivery_tag or 0, wait=False)

        action = f"follow {queue}"
        # The library sends one request at a time on a channel. Without the turn, a request would wait for those of all
        # other streams, and this wait would count as the broker's. With many streams, none would be in time.
        async with self._turn:
            counted = (await measure(channel, queue, timeout_s=FOLLOW_TIMEOUT_S)).messages
            # "last" is the last chunk, not the last message: older messages of the chunk come first, and the latest one
            # counts.
            consuming = channel.basic_consume(queue, deliver, arguments={"x-stream-offset": "last"})
            await answered(action, consuming, timeout_s=FOLLOW_TIMEOUT_S)
            # RabbitMQ 4 answers before it begins to read, and can take seconds in between. Silence counts from then on.
            await self.check(timeout_s=FOLLOW_TIMEOUT_S)
        try:
            async with asyncio.timeout(RPC_TIMEOUT_S if counted else silence_s):
                await has_come.wait()
        except TimeoutError:
            if counted:
                raise BrokerUnavailableError(f"cannot {action}: {counted} messages, and none is delivered") from None
            on_empty()

    async def check(self, *, timeout_s: float = RPC_TIMEOUT_S) -> None:
        """Wait for an answer of the broker's process that delivers the messages of this reader.

        It needs no other node of the broker, and comes after the messages that the process has sent before.

        Raises:
            BrokerUnavailableError: The broker does not answer.
        """
        await answered("check a reader of streams", self._channel.flow(active=True), timeout_s=timeout_s)

    @property
    def is_cancelled(self) -> bool:
        """Whether the broker has cancelled a consumer: its stream may be deleted."""
        return self._cancellation.is_set()

    async def until_ended(self) -> NoReturn:
        """Wait until reading ends.

        Raises:
            BrokerUnavailableError: It has; the message is the reason.
        """
        await first_of(until_closed(self._channel), until_cancelled(self._cancellation))
        raise AssertionError("unreachable: both only raise")


async def last_of_stream(connection: Connection, queue: str) -> bytes | None:
    """Return the last message of a stream; None if it has none, or if there is no such stream.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    if await depth_of(connection, queue) is None:
        return None
    channel = await open_channel(connection)
    bodies: asyncio.Queue[bytes | None] = asyncio.Queue()
    reader = StreamReader(channel)
    await reader.start()
    await reader.follow(
        queue,
        on_message=lambda _, body: bodies.put_nowait(body),
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
