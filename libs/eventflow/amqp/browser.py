"""Browsing: an operator reads a queue. At the end, messages that are not acked are requeued at their positions."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from eventflow.amqp.channel import CONNECTION_ERRORS, RPC_TIMEOUT_S, answered, open_channel
from eventflow.amqp.connection import Connection
from eventflow.amqp.consume_channel import envelope_of
from eventflow.amqp.queues import depth_of, wait_for_consumers
from eventflow.errors import BrokerUnavailableError, DeliveryLostError
from eventflow.message import Envelope

READ_IDLE_S = 1.0
"""Silence after which the queue is measured: it may be empty."""

REQUEUED_AT_ONCE = 16
"""Settlements sent before waiting for the queue to have them. A quorum queue keeps the order of 32 that come together,
and of more it does not; this leaves room."""

SETTLED_MAX_S = 10.0

BATCH_MAX = 32
"""Messages that are read, and requeued, together: of more than 32, RabbitMQ 3 does not keep the order."""

ORDER_KEPT_MAX = 10_000
"""Most messages that are read only to keep the order of the queue: this takes about a second and a half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsed:
    """A message that a `Browser` has read. It is still in its queue, and hidden from other consumers.

    Attributes:
        headers: All headers as they came, including the broker's own, such as `x-death`.
        redelivered: Whether it was delivered and requeued before.
        tag: Its delivery tag.
    """

    envelope: Envelope
    headers: Mapping[str, Any]
    redelivered: bool
    tag: int


class Browser:
    """Reads a queue from its head: each message that was there at the start, once. Unacked messages stay, in order.

    Each batch has a consumer of its own, which is cancelled when the batch is complete. The alternatives are worse: one
    consumer can hold at most 2000 messages of a quorum queue, and `basic.get` costs a round trip for each message and
    loses their order when they are requeued.

    Attributes:
        total: Number of messages in the queue at the start.
        left: Number of messages that are still to be read.
    """

    def __init__(
        self, connection: Connection, channel: Channel, queue: str, *, ready: int, at_most: int | None, consumers: int
    ) -> None:
        """Prepare; use `browsing`.

        Args:
            connection: The connection of the channel.
            channel: A channel that nothing else uses.
            queue: The queue to read.
            ready: Number of messages in the queue.
            at_most: Number of messages to read, if fewer than these.
            consumers: Number of consumers that the queue has without ours.
        """
        self.total = ready
        self.left = ready if at_most is None else min(ready, at_most)
        self._others = consumers
        self._is_countable = True
        self._connection = connection
        self._channel = channel
        self._queue = queue
        self._open: set[int] = set()  # unacked tags of the latest batch
        self._batches: list[int] = []  # the last unacked tag of each earlier batch, which stands for all of it
        self._is_among_requeued = False

    async def read(self, count: int) -> list[Browsed]:
        """Return the next messages, at most `count` and at most 32; an empty list after the last.

        Raises:
            BrokerUnavailableError: The broker does not answer, or has closed the channel.
        """
        self._end_batch()
        wanted = min(count, self.left, BATCH_MAX)
        if not wanted:
            return []
        arrived: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
        action = f"read {self._queue}"
        await answered(action, self._channel.basic_qos(prefetch_count=wanted))
        answer = await answered(action, self._channel.basic_consume(self._queue, arrived.put))
        held = [_held(message) for message in await self._gather(arrived, wanted)]
        await answered(action, self._channel.basic_cancel(str(answer.consumer_tag)))
        self.left = self.left - wanted if len(held) == wanted else 0
        self._open = {message.tag for message in held}
        self._is_among_requeued = bool(held) and held[-1].redelivered
        return held

    async def ack(self, message: Browsed) -> None:
        """Remove a message of the latest `read` from the queue. It is certain only after `close` has returned.

        Raises:
            DeliveryLostError: The channel is gone; the broker requeues the message.
        """
        try:
            await self._channel.basic_ack(message.tag, wait=False)
        except CONNECTION_ERRORS as error:
            raise DeliveryLostError(str(error)) from error
        self._open.discard(message.tag)

    async def keep_order(self, *, within_s: float) -> None:
        """Read on until requeuing the messages leaves the queue in its order, or until the time is up.

        A quorum queue delivers requeued messages before all others, and appends the next requeued ones to them. If
        reading ended among messages that were requeued before, those that were read would move behind those that were
        not. So reading continues to the end of the requeued ones, but for at most 10 000 of them.

        Raises:
            BrokerUnavailableError: As `read`.
        """
        deadline_s = time.monotonic() + within_s
        for _ in range(ORDER_KEPT_MAX // BATCH_MAX):
            if not self._is_among_requeued or time.monotonic() > deadline_s or not await self.read(BATCH_MAX):
                return

    async def close(self) -> None:
        """Requeue all that is not acked, the head first, and wait until the queue has received every settlement.

        Raises:
            BrokerUnavailableError: The connection was lost; the messages that were acked last may be in the queue
            again.
        """
        self._end_batch()
        await self._until_settled(held=len(self._batches))
        try:
            for start in range(0, len(self._batches), REQUEUED_AT_ONCE):
                for tag in self._batches[start : start + REQUEUED_AT_ONCE]:
                    await self._channel.basic_nack(tag, multiple=True, requeue=True, wait=False)
                await self._until_settled(held=max(0, len(self._batches) - start - REQUEUED_AT_ONCE))
            await answered("close the channel", self._channel.close())
        except CONNECTION_ERRORS as error:
            raise BrokerUnavailableError(f"lost {self._queue} while requeuing messages: {error}") from error

    async def _until_settled(self, *, held: int) -> None:
        """Wait until only `held` of our consumers are left, which shows that the queue has our settlements."""
        if self._is_countable:  # if a wait fails, others consume too by now, and the number shows nothing
            self._is_countable = await wait_for_consumers(
                self._connection, self._queue, at_most=self._others + held, timeout_s=SETTLED_MAX_S
            )

    def _end_batch(self) -> None:
        if self._open:
            self._batches.append(max(self._open))
            self._open = set()

    async def _gather(self, arrived: "asyncio.Queue[DeliveredMessage]", count: int) -> list[DeliveredMessage]:
        """Wait for `count` messages, or for fewer if another consumer has taken some of them."""
        messages: list[DeliveredMessage] = []
        idle_s = 0.0
        while len(messages) < count:
            try:
                async with asyncio.timeout(READ_IDLE_S):
                    messages.append(await arrived.get())
                idle_s = 0.0
            except TimeoutError:
                idle_s += READ_IDLE_S
                depth = await depth_of(self._connection, self._queue)
                if depth is None or (depth.messages == 0 and arrived.empty()):
                    break
                if self._channel.is_closed or idle_s >= RPC_TIMEOUT_S:
                    raise BrokerUnavailableError(f"{self._queue} delivers nothing although it is not empty") from None
        return messages


@asynccontextmanager
async def browsing(
    connection: Connection, queue: str, *, at_most: int | None = None, order_within_s: float = math.inf
) -> AsyncIterator[Browser]:
    """Browse a queue; at the end of the context, unacked messages are back in place. A missing queue counts as empty.

    Args:
        connection: The connection to read on.
        queue: The queue to read.
        at_most: Number of messages to read, if fewer than all that are there now.
        order_within_s: Longest time to read on only to keep the order of the queue.

    Raises:
        BrokerUnavailableError: The broker cannot be used; it requeues by itself all that was not acked.
    """
    depth = await depth_of(connection, queue)
    channel = await open_channel(connection)
    ready, consumers = (depth.messages, depth.consumers) if depth else (0, 0)
    browser = Browser(
        connection,
        channel,
        queue,
        ready=ready,
        at_most=at_most,
        consumers=consumers,
    )
    try:
        yield browser
        await browser.keep_order(within_s=order_within_s)
    except BaseException:
        with suppress(BrokerUnavailableError):
            await browser.close()
        raise
    await browser.close()


def _held(message: DeliveredMessage) -> Browsed:
    return Browsed(
        envelope=envelope_of(message),
        headers=message.header.properties.headers or {},
        redelivered=bool(message.redelivered),
        tag=message.delivery_tag or 0,
    )
