"""How deliveries come in on a consuming channel, and how they are settled."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aiormq import Channel
from aiormq.abc import DeliveredMessage

from eventflow.amqp import frames, wire
from eventflow.amqp.channel import CONNECTION_ERRORS, answered
from eventflow.amqp.connection import Connection, wire_of
from eventflow.errors import DeliveryLostError
from eventflow.message import Envelope, decode

NOT_TAKEN_PAUSE_S = 1.0
"""Before a delivery goes back that could not be handed over: it comes again at once."""

log = structlog.stdlib.get_logger()

Deliver = Callable[[Envelope, int], None]
"""Takes an event and its delivery tag at once, and never blocks."""


class ConsumeChannel(Protocol):
    """Consumes on one channel. Delivery tags are that channel's."""

    @property
    def is_open(self) -> bool:
        """Whether what was delivered can still be settled."""

    async def consume(self, queue: str, *, prefetch: int, deliver: Deliver) -> str:
        """Start a consumer and return its tag.

        Raises:
            BrokerUnavailableError: The broker refused it or does not answer.
        """

    def settle(self, tag: int, *, requeue: bool) -> None:
        """Ack a delivery, or requeue it.

        Raises:
            DeliveryLostError: The channel is gone.
        """

    def dead_letter(self, tag: int) -> None:
        """Have the broker move a delivery, whole, to the dead-letter target of its queue.

        Raises:
            DeliveryLostError: The channel is gone.
        """


def consume_channel_on(connection: Connection, channel: Channel) -> ConsumeChannel:
    """Return the way to consume on a channel: the wire's, or the library's own way."""
    below = wire_of(connection)
    return LibraryConsumeChannel(channel) if below is None else WireConsumeChannel(below, channel)


def envelope_of(message: DeliveredMessage) -> Envelope:
    """Read a message that the library has delivered, whoever published it."""
    properties = message.header.properties
    return decode(
        body=message.body,
        headers=properties.headers or {},
        message_id=properties.message_id,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        timestamp=properties.timestamp,
    )


@dataclass(slots=True, kw_only=True)
class Incoming:
    """A delivery of which parts are still to come."""

    consumer_tag: str
    tag: int
    header: bytes | None = None
    parts: list[bytes] = field(default_factory=list)
    left_bytes: int = 0

    def add(self, payload: bytes) -> bool:
        """Take the next frame; return whether it was the last."""
        if self.header is None:
            self.header = payload
            self.left_bytes = frames.body_bytes_of(payload)
        else:
            self.parts.append(payload)
            self.left_bytes -= len(payload)
        return self.left_bytes <= 0


class WireConsumeChannel:
    """Reads deliveries and writes their settlements itself, many at a time (ADR 12)."""

    def __init__(self, below: wire.Wire, channel: Channel) -> None:
        """Take the channel's deliveries from now on; it must have no consumer yet."""
        self._wire = below
        self._channel = channel
        self._deliver: dict[str, Deliver] = {}
        self._incoming: Incoming | None = None
        below.take_channel(channel.number, self)

    @property
    def is_open(self) -> bool:
        """See `ConsumeChannel`."""
        return not self._channel.is_closed

    async def consume(self, queue: str, *, prefetch: int, deliver: Deliver) -> str:
        """See `ConsumeChannel`."""
        self._deliver[queue] = deliver  # its own name is its consumer's tag: known before the first delivery
        return await _consume(self._channel, queue, prefetch=prefetch, on_message=_ignore)

    def settle(self, tag: int, *, requeue: bool) -> None:
        """See `ConsumeChannel`."""
        if self._channel.is_closed:
            raise DeliveryLostError("the channel that delivered is closed")
        self._wire.send(frames.settle_frame(tag, channel=self._channel.number, requeue=requeue))

    def dead_letter(self, tag: int) -> None:
        """See `ConsumeChannel`."""
        if self._channel.is_closed:
            raise DeliveryLostError("the channel that delivered is closed")
        self._wire.send(frames.dead_letter_frame(tag, channel=self._channel.number))

    def take(self, kind: int, payload: bytes) -> bool:
        """Take deliveries; see `Frames`."""
        if kind != frames.METHOD:
            return self._take_content(payload)
        if frames.method_of(payload) != frames.DELIVER:
            return False
        consumer_tag, tag = frames.deliver_of(payload)
        self._incoming = Incoming(consumer_tag=consumer_tag, tag=tag)
        return True

    def _take_content(self, payload: bytes) -> bool:
        incoming = self._incoming
        if incoming is None:
            return False
        if incoming.add(payload) and incoming.header is not None:
            self._incoming = None
            try:
                envelope = _envelope(incoming.header, b"".join(incoming.parts))
                self._deliver[incoming.consumer_tag](envelope, incoming.tag)
            except Exception:  # raised here, it would end the connection, and every one after it
                log.exception("delivery.not_taken", queue=incoming.consumer_tag, action="requeued after a pause")
                asyncio.get_running_loop().call_later(NOT_TAKEN_PAUSE_S, self._requeue, incoming.tag)
        return True

    def _requeue(self, tag: int) -> None:
        if not self._channel.is_closed:
            self._wire.send(frames.settle_frame(tag, channel=self._channel.number, requeue=True))


def _envelope(header: bytes, body: bytes) -> Envelope:
    properties = frames.properties_of(header)
    return decode(
        body=body,
        headers=properties.headers,
        message_id=properties.message_id,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        timestamp=properties.timestamp,
    )


class LibraryConsumeChannel:
    """The library's own way, for versions of it that the wire was not tried with."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._writing: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """See `ConsumeChannel`."""
        return not self._channel.is_closed

    async def consume(self, queue: str, *, prefetch: int, deliver: Deliver) -> str:
        """See `ConsumeChannel`."""

        async def take(message: DeliveredMessage) -> None:
            # Nothing but a hand-over: the library cancels running callbacks when the channel closes.
            tag = message.delivery_tag or 0
            try:
                deliver(envelope_of(message), tag)
            except Exception:  # else the delivery would be held for good
                log.exception("delivery.not_taken", queue=queue, action="requeued after a pause")
                await asyncio.sleep(NOT_TAKEN_PAUSE_S)
                self.settle(tag, requeue=True)

        return await _consume(self._channel, queue, prefetch=prefetch, on_message=take)

    def settle(self, tag: int, *, requeue: bool) -> None:
        """See `ConsumeChannel`."""
        if self._channel.is_closed:
            raise DeliveryLostError("the channel that delivered is closed")
        if requeue:
            self._write(self._channel.basic_nack(tag, requeue=True, wait=False))
        else:
            self._write(self._channel.basic_ack(tag, wait=False))

    def dead_letter(self, tag: int) -> None:
        """See `ConsumeChannel`."""
        if self._channel.is_closed:
            raise DeliveryLostError("the channel that delivered is closed")
        self._write(self._channel.basic_nack(tag, requeue=False, wait=False))

    def _write(self, settlement: Coroutine[Any, Any, None]) -> None:
        """Let the library write a settlement. Tasks begin in the order in which they are made, and so do frames."""
        writing = asyncio.create_task(_written(settlement))
        self._writing.add(writing)  # the loop itself holds tasks only weakly
        writing.add_done_callback(self._writing.discard)


async def _written(settlement: Coroutine[Any, Any, None]) -> None:
    try:
        await settlement
    except CONNECTION_ERRORS as error:  # the channel has just closed, so the broker delivers the message again
        log.debug("delivery.settlement_lost", reason=str(error))


async def _consume(
    channel: Channel, queue: str, *, prefetch: int, on_message: Callable[[DeliveredMessage], Coroutine[Any, Any, None]]
) -> str:
    """Start a consumer of a queue, with the queue's name as its tag."""
    # A prefetch applies to the consumers that start after it.
    await answered("set a prefetch", channel.basic_qos(prefetch_count=prefetch))
    answer = await answered(f"consume from {queue}", channel.basic_consume(queue, on_message, consumer_tag=queue))
    return str(answer.consumer_tag)


async def _ignore(_: DeliveredMessage) -> None:
    """Do nothing with a delivery: it was taken before the library saw it."""
