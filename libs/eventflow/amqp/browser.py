"""Reading a queue without taking from it, for operators: what is not acked is back in its place at the end."""

import asyncio
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
"""A browser that got nothing for so long asks whether the queue is empty."""

RETURNED_AT_ONCE = 16
"""Settlements that a quorum queue takes in their order, with room to spare: it takes 32, and more in any order."""

SETTLED_MAX_S = 10.0

SHARE_MAX = 32
"""Messages that are read, and given back, at once: RabbitMQ 3 returns more than 32 in any order."""

ORDER_KEPT_MAX = 10_000
"""How far a look reads on to keep the order of what was looked at before: about a second and a half of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsed:
    """A message that a `Browser` has read. It is still in its queue, only hidden from others.

    Attributes:
        headers: As they came, the broker's own (`x-death`) too.
        redelivered: Whether somebody has read it before.
    """

    envelope: Envelope
    headers: Mapping[str, Any]
    redelivered: bool
    tag: int


class Browser:
    """Reads a queue from its head: each message that was there at the start, once. What is not acked stays, in order.

    It reads through consumers that are cancelled as soon as each has its share. One consumer can hold no more than
    2000 messages of a quorum queue, and `basic.get` costs a round trip each and loses the order on return.
    """

    def __init__(self, connection: Connection, channel: Channel, queue: str, *, ready: int, consumers: int) -> None:
        """Prepare; use `browsing`.

        Args:
            ready: How many messages to read.
            consumers: Consumers that the queue has without ours.
        """
        self.left = ready
        self._others = consumers
        self._countable = True
        self._connection = connection
        self._channel = channel
        self._queue = queue
        self._open: set[int] = set()  # tags of the latest share that are not acked
        self._shares: list[int] = []  # the last held tag of each share before: a million messages are a few numbers
        self._among_returned = False

    async def read(self, count: int) -> list[Browsed]:
        """Return the next messages, at most `count` and at most 32; none at the end of what was there at the start.

        Raises:
            BrokerUnavailableError: The broker does not answer, or has closed the channel.
        """
        self._end_share()
        wanted = min(count, self.left, SHARE_MAX)
        if not wanted:
            return []
        arrived: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
        what = f"read {self._queue}"
        await answered(what, self._channel.basic_qos(prefetch_count=wanted))
        answer = await answered(what, self._channel.basic_consume(self._queue, arrived.put))
        held = [_held(message) for message in await self._gather(arrived, wanted)]
        await answered(what, self._channel.basic_cancel(str(answer.consumer_tag)))
        self.left = self.left - wanted if len(held) == wanted else 0
        self._open = {message.tag for message in held}
        self._among_returned = bool(held) and held[-1].redelivered
        return held

    async def ack(self, message: Browsed) -> None:
        """Tell the broker to forget a message of the latest `read`; certain once `close` has returned.

        Raises:
            DeliveryLostError: The channel is gone; the message is in its queue again.
        """
        try:
            await self._channel.basic_ack(message.tag, wait=False)
        except CONNECTION_ERRORS as error:
            raise DeliveryLostError(str(error)) from error
        self._open.discard(message.tag)

    async def keep_order(self) -> None:
        """Read on to where returning what was read leaves the order as it was.

        A quorum queue hands out returned messages first, and puts what comes back behind those that came back before.
        A look that ends among them would turn their order, so it goes on to their end, for at most 10 000 of them.

        Raises:
            BrokerUnavailableError: As `read`.
        """
        for _ in range(ORDER_KEPT_MAX // SHARE_MAX):
            if not self._among_returned or not await self.read(SHARE_MAX):
                return

    async def close(self) -> None:
        """Return what is not acked, from the head on, and make sure that the broker has heard it all.

        Raises:
            BrokerUnavailableError: The connection was lost; what was acked last may be in the queue again.
        """
        self._end_share()
        await self._until_settled(held=len(self._shares))
        try:
            for start in range(0, len(self._shares), RETURNED_AT_ONCE):
                for tag in self._shares[start : start + RETURNED_AT_ONCE]:
                    await self._channel.basic_nack(tag, multiple=True, requeue=True, wait=False)
                await self._until_settled(held=max(0, len(self._shares) - start - RETURNED_AT_ONCE))
            await answered("close the channel", self._channel.close())
        except CONNECTION_ERRORS as error:
            raise BrokerUnavailableError(f"lost {self._queue} while returning messages: {error}") from error

    async def _until_settled(self, *, held: int) -> None:
        """Wait until only `held` of our consumers are left, which means that the queue has taken our settlements."""
        if self._countable:  # else others consume too by now, so nothing follows from the number
            self._countable = await wait_for_consumers(
                self._connection, self._queue, at_most=self._others + held, timeout_s=SETTLED_MAX_S
            )

    def _end_share(self) -> None:
        if self._open:
            self._shares.append(max(self._open))
            self._open = set()

    async def _gather(self, arrived: "asyncio.Queue[DeliveredMessage]", count: int) -> list[DeliveredMessage]:
        """Wait for `count` messages; for fewer where somebody else took some of them."""
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
                    raise BrokerUnavailableError(f"{self._queue} hands out nothing though it is not empty") from None
        return messages


@asynccontextmanager
async def browsing(connection: Connection, queue: str, *, at_most: int | None = None) -> AsyncIterator[Browser]:
    """Read a queue; when the context ends, what was not acked is back in its place. No queue reads as an empty one.

    Args:
        at_most: Messages to read, where fewer than all that are there now.

    Raises:
        BrokerUnavailableError: The broker cannot be used; it returns what was not acked by itself.
    """
    depth = await depth_of(connection, queue)
    channel = await open_channel(connection)
    ready, consumers = (depth.messages, depth.consumers) if depth else (0, 0)
    browser = Browser(
        connection,
        channel,
        queue,
        ready=ready if at_most is None else min(ready, at_most),
        consumers=consumers,
    )
    try:
        yield browser
        await browser.keep_order()
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
