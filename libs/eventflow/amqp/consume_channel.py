"""Deliveries of one consuming channel, and their settlement."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from typing_extensions import override

from eventflow.amqp import frames, wire
from eventflow.amqp.channel import CONNECTION_ERRORS, answered
from eventflow.amqp.connection import Connection, wire_of
from eventflow.amqp.templates import MessageReader
from eventflow.delivery import SettlingChannel
from eventflow.errors import DeliveryLostError
from eventflow.message import Envelope, decode

REQUEUE_PAUSE_S = 1.0
"""Pause before a delivery that could not be passed on is requeued, because the broker delivers it again at once."""

_ENDS = frozenset((frames.CHANNEL_CLOSE, frames.CHANNEL_CLOSE_OK))
"""Methods after which a channel does not exist any more in the broker."""

log = structlog.stdlib.get_logger()

Deliver = Callable[[Envelope, int], None]
"""Takes an event and its delivery tag at once, and never blocks."""


class ConsumeChannel(SettlingChannel, Protocol):
    """Consumes on one channel. Delivery tags are valid on that channel only."""

    async def consume(self, queue: str, *, prefetch: int, deliver: Deliver) -> str:
        """Start a consumer and return its tag.

        Args:
            queue: The queue to consume from.
            prefetch: Unsettled deliveries that the broker may send ahead.
            deliver: Called with each delivery.

        Raises:
            BrokerUnavailableError: The broker refused it or does not answer.
        """

    def retire(self) -> None:
        """Pass on and settle no more deliveries. Call this before the channel is closed.

        If a settlement arrives after the close, the broker closes the connection, which other channels may share. The
        channel counts as open until the broker has confirmed the close, so without this call one could be written.
        """


def consume_channel_on(connection: Connection, channel: Channel) -> ConsumeChannel:
    """Return the fastest way to consume on a channel that the installed library allows.

    Args:
        connection: The connection of the channel.
        channel: A channel without consumers.
    """
    below = wire_of(connection)
    return LibraryConsumeChannel(channel) if below is None else WireConsumeChannel(below, channel)


def envelope_of(message: DeliveredMessage) -> Envelope:
    """Read a message that the library has delivered, ours or foreign."""
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
    """A delivery whose frames have not all arrived, or that has no body frame or several."""

    consumer_tag: bytes
    tag: int
    header: bytes | None = None
    parts: list[bytes] = field(default_factory=list)
    left_bytes: int = 0

    def add(self, payload: bytes) -> bool:
        """Add the next frame; return whether it was the last."""
        if self.header is None:
            self.header = payload
            self.left_bytes = frames.body_bytes_of(payload)
        else:
            self.parts.append(payload)
            self.left_bytes -= len(payload)
        return self.left_bytes <= 0  # at once for a message without a body, which has no body frame


class WireConsumeChannel(ConsumeChannel, wire.FrameHandler):
    """Reads deliveries and writes their settlements below the library, many at a time (ADR 12)."""

    def __init__(self, below: wire.Wire, channel: Channel) -> None:
        """Claim the channel. It must have no consumer yet."""
        self._wire = below
        self._channel = channel
        self._number = channel.number
        self._messages = MessageReader()
        self._deliver: dict[bytes, Deliver] = {}  # by consumer tag
        self._incoming: Incoming | None = None  # one at a time: frames of two deliveries never mix on a channel
        self._unsettled: dict[int, None] = {}  # delivery tags; they only grow, so the oldest is the first
        self._acked: list[int] = []  # tags whose acks are written at the end of this tick of the event loop
        self._is_retired = False
        below.claim_channel(channel.number, self)

    @property
    @override
    def is_open(self) -> bool:
        return not (self._is_retired or self._channel.is_closed)

    @override
    def retire(self) -> None:
        self._is_retired = True

    @override
    async def consume(self, queue: str, *, prefetch: int, deliver: Deliver) -> str:
        # Registered before the consumer is started, because its first delivery can arrive in the same read as the
        # answer. So the consumer tag must be known now: it is the name of the queue, not one chosen by the broker.
        self._deliver[queue.encode()] = deliver
        return await _consume(self._channel, queue, prefetch=prefetch, on_message=_ignore)

    @override
    def settle(self, tag: int, *, requeue: bool) -> None:
        if self._is_retired or self._channel.is_closed:
            raise DeliveryLostError("the delivering channel is closed")
        if requeue:
            self._settle_now(tag, frames.requeue_frame(tag, channel=self._number))
            return
        if not self._acked:
            self._wire.send_last(self._take_acks)
        self._acked.append(tag)

    @override
    def dead_letter(self, tag: int) -> None:
        if self._is_retired or self._channel.is_closed:
            raise DeliveryLostError("the delivering channel is closed")
        self._settle_now(tag, frames.dead_letter_frame(tag, channel=self._number))

    def _settle_now(self, tag: int, frame: bytes) -> None:
        """Write a settlement that is not an ack, before the acks of this tick."""
        self._unsettled.pop(tag, None)
        self._wire.send(frame)

    def _take_acks(self) -> bytes:
        """Return the acks of this tick. Deliveries that were settled otherwise are out of the way by now."""
        acked, self._acked = self._acked, []
        for tag in acked:
            self._unsettled.pop(tag, None)
        return frames.ack_frames(acked, oldest_unsettled=next(iter(self._unsettled), None), channel=self._number)

    @override
    def handle(self, read: bytes, start: int, end: int) -> int:
        payload = frames.payload_of(read, start, end)
        if read[start] != frames.METHOD:
            return end if self._is_retired or self._add_content(payload) else start
        method = frames.method_of(payload)
        if method != frames.DELIVER:
            if method in _ENDS:
                self._end()
            return start
        if self._is_retired:
            return end  # dropped here: the library keeps a few frames of a closed channel, and then stops reading
        consumer_tag, tag = frames.deliver_of(payload)
        self._unsettled[tag] = None  # from its first frame on: an ack of several must not include it
        # Nearly every delivery has one body frame and is whole in one read, so it needs no state between its frames.
        content = frames.content_at(read, end, channel=self._number)
        if content is None:
            self._incoming = Incoming(consumer_tag=consumer_tag, tag=tag)
            return end
        header, body, content_end = content
        self._pass_on(consumer_tag, tag, header, body)
        return content_end

    def _add_content(self, payload: bytes) -> bool:
        """Add a header or body frame, and pass the delivery on when it is complete."""
        incoming = self._incoming
        if incoming is None:
            return False
        if incoming.add(payload) and incoming.header is not None:
            self._incoming = None
            self._pass_on(incoming.consumer_tag, incoming.tag, incoming.header, b"".join(incoming.parts))
        return True

    def _end(self) -> None:
        """Leave the number of the channel to the next one that gets it, now that the broker has closed this one."""
        self.retire()
        self._wire.release_channel(self._number)

    def _pass_on(self, consumer_tag: bytes, tag: int, header: bytes, body: bytes) -> None:
        try:
            self._deliver[consumer_tag](self._messages.read(header, body), tag)
        except Exception:
            # If this were raised, it would end the reading of the socket and so the connection; and the next one too,
            # because the broker delivers the same message again.
            log.exception(
                "delivery.not_taken", queue=consumer_tag.decode(errors="replace"), action="requeued after a pause"
            )
            asyncio.get_running_loop().call_later(REQUEUE_PAUSE_S, self._requeue, tag)

    def _requeue(self, tag: int) -> None:
        if self.is_open:
            self._settle_now(tag, frames.requeue_frame(tag, channel=self._number))


class LibraryConsumeChannel(ConsumeChannel):
    """Consumes by the library's own methods, for versions of it that `wire` was not tested with."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._is_retired = False
        self._writing: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()

    @property
    @override
    def is_open(self) -> bool:
        return not (self._is_retired or self._channel.is_closed)

    @override
    def retire(self) -> None:
        self._is_retired = True

    @override
    async def consume(self, queue: str, *, prefetch: int, deliver: Deliver) -> str:
        async def pass_on(message: DeliveredMessage) -> None:
            # This only passes the delivery on: aiormq cancels running callbacks when the channel closes, which would
            # abort an attempt.
            tag = message.delivery_tag or 0
            if self._is_retired:
                return
            try:
                deliver(envelope_of(message), tag)
            except Exception:  # else the delivery would stay unsettled for as long as the channel lives
                log.exception("delivery.not_taken", queue=queue, action="requeued after a pause")
                await asyncio.sleep(REQUEUE_PAUSE_S)
                self.settle(tag, requeue=True)

        return await _consume(self._channel, queue, prefetch=prefetch, on_message=pass_on)

    @override
    def settle(self, tag: int, *, requeue: bool) -> None:
        if not self.is_open:
            raise DeliveryLostError("the delivering channel is closed")
        if requeue:
            self._write(partial(self._channel.basic_nack, tag, requeue=True, wait=False))
        else:
            self._write(partial(self._channel.basic_ack, tag, wait=False))

    @override
    def dead_letter(self, tag: int) -> None:
        if not self.is_open:
            raise DeliveryLostError("the delivering channel is closed")
        self._write(partial(self._channel.basic_nack, tag, requeue=False, wait=False))

    def _write(self, settlement: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let the library write a settlement, in a task, because its methods are coroutines.

        The frames have the order of the settlements: tasks start in the order of their creation, and the lock keeps
        this order. Without it, of the tasks that wait until the library has room for a frame, any could be the next.
        """
        writing = asyncio.create_task(self._written(settlement))
        self._writing.add(writing)  # the loop itself has only weak references to tasks
        writing.add_done_callback(self._writing.discard)

    async def _written(self, settlement: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            async with self._order:
                await settlement()
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
    """Do nothing with a delivery: the wire has taken its frames, so the library never calls this."""
