"""Publishes on one confirm channel, and the outcome of each: confirmed, refused, returned, too large or lost."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import Protocol

import structlog
from aiormq import Channel
from aiormq.exceptions import DeliveryError
from aiormq.exceptions import PublishError as ReturnedError
from pamqp.commands import Basic
from typing_extensions import override

from eventflow.amqp import frames, wire
from eventflow.amqp.channel import CONNECTION_ERRORS
from eventflow.amqp.connection import Connection, wire_of
from eventflow.errors import (
    BrokerUnavailableError,
    EventFlowError,
    HeadersTooLargeError,
    PublishRefusedError,
    PublishTimeoutError,
    UnroutableError,
)
from eventflow.message import Message

PERSISTENT = 2
FRAME_MAX_BYTES = 128 * 1024
"""Size of our frames if the broker sets no limit."""

log = structlog.stdlib.get_logger()


class Publication:
    """One publish. It is *unresolved* until the broker confirms, refuses or returns it, or the connection is lost.

    A publish is not undone when its caller stops waiting: the broker may still keep the message.
    """

    __slots__ = ("_callbacks", "_error", "_is_resolved", "message", "queue", "started_s")

    def __init__(self, message: Message, queue: str) -> None:
        self.message = message
        self.queue = queue
        self.started_s = time.monotonic()
        self._is_resolved = False
        self._error: EventFlowError | None = None
        self._callbacks: tuple[Callable[[], object], ...] = ()

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed it."""
        return self._is_resolved and self._error is None

    @property
    def error(self) -> EventFlowError | None:
        """The reason for which it was not confirmed; None if it is confirmed, or still unresolved."""
        return self._error

    async def confirmed(self, *, timeout_s: float) -> None:
        """Return once the broker has confirmed. Waiting again after a timeout is allowed.

        Raises:
            PublishTimeoutError: Still unresolved.
            PublishRefusedError: The broker does not keep it.
            UnroutableError: There is no such queue.
            MessageTooLargeError: The broker accepts no message, or no headers, of this size.
            BrokerUnavailableError: The connection was lost first; whether the broker keeps it is unknown.
        """
        if not self._is_resolved:
            await self._wait(timeout_s)
        if not self._is_resolved:
            raise PublishTimeoutError(f"no confirm within {timeout_s:g} s")
        if self._error is not None:
            raise self._error

    def on_resolved(self, callback: Callable[[], object]) -> None:
        """Call back once, when it is resolved: within the reading of the confirms, and in their order."""
        if self._is_resolved:
            asyncio.get_running_loop().call_soon(callback)  # never before this returns, as for one that is unresolved
        else:
            self._callbacks += (callback,)

    def resolve(self, error: EventFlowError | None = None) -> None:
        """Record the outcome, confirmed or `error`, and call back all that wait for it. Only the first outcome counts.

        Called by the channel that publishes it.
        """
        if self._is_resolved:
            return
        self._is_resolved, self._error = True, error
        callbacks, self._callbacks = self._callbacks, ()  # so that they, and all that they refer to, are freed now
        for callback in callbacks:
            try:
                callback()
            except Exception:  # otherwise it would end the task that reads confirms, and so every other publish
                log.exception("publish.callback_failed")

    async def _wait(self, timeout_s: float) -> None:
        # The timer wakes this waiter and cancels nothing: after a timeout the publish continues.
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        wake = partial(_wake, waiter)
        self.on_resolved(wake)
        timer = loop.call_later(timeout_s, wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._callbacks = tuple(callback for callback in self._callbacks if callback is not wake)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class PublishChannel(Protocol):
    """Publishes on one channel, with confirms, until the channel closes."""

    @property
    def oldest(self) -> Publication | None:
        """The publish that has been unresolved for the longest; None if there is none."""

    @property
    def max_bytes(self) -> int | None:
        """The broker's size limit, if a message above it has closed the channel; None otherwise.

        A publish that is started after that is not sent here; the next channel takes it over.
        """

    def send(self, publication: Publication) -> None:
        """Start a publish. One whose headers do not fit into a frame is resolved at once, and not sent."""

    def give_up(self) -> Sequence[Publication]:
        """Forget and return all unresolved publishes, the oldest first, because the channel is gone."""


def publish_channel_on(
    connection: Connection, channel: Channel, *, on_unroutable: Callable[[], None]
) -> PublishChannel:
    """Return the fastest way to publish on a confirm channel that the installed library allows.

    Args:
        connection: The connection of the channel.
        channel: A channel that nothing else publishes on.
        on_unroutable: Called after each message that was returned because its queue does not exist.
    """
    below = wire_of(connection)
    if below is None:
        return LibraryPublishChannel(channel, on_unroutable=on_unroutable)
    return WirePublishChannel(below, channel, on_unroutable=on_unroutable)


class WirePublishChannel(PublishChannel, wire.FrameHandler):
    """Writes publishes and reads their confirms below the library, many at a time (ADR 12)."""

    def __init__(self, below: wire.Wire, channel: Channel, *, on_unroutable: Callable[[], None]) -> None:
        """Claim the channel. It must be fresh: the broker counts its publishes from 1, and so does this."""
        self._wire = below
        self._number = channel.number
        self._frame_max = _frame_max_of(channel)
        self._on_unroutable = on_unroutable
        self._is_closed = False
        self._max_bytes: int | None = None
        self._sent = 0
        self._outstanding: dict[int, Publication] = {}  # unresolved, by delivery tag; tags only grow, so in their order
        self._returned: list[bytes] | None = None  # header and body frames so far of a message that is being returned
        below.claim_channel(channel.number, self)

    @property
    @override
    def oldest(self) -> Publication | None:
        return next(iter(self._outstanding.values()), None)

    @property
    @override
    def max_bytes(self) -> int | None:
        return self._max_bytes

    @override
    def send(self, publication: Publication) -> None:
        if not self._is_closed:  # after a frame on a closed channel, the broker would close the whole connection
            try:
                encoded = frames.publish_frames(
                    publication.message, queue=publication.queue, channel=self._number, frame_max=self._frame_max
                )
            except HeadersTooLargeError as error:
                publication.resolve(error)
                return
            self._wire.send(encoded)
        # Counted only after the frames are written, because their encoding can raise. If a publish was counted and not
        # sent, each later publish would get the confirm of the one before it.
        self._sent += 1
        self._outstanding[self._sent] = publication

    @override
    def give_up(self) -> Sequence[Publication]:
        left, self._outstanding = self._outstanding, {}
        return list(left.values())

    @override
    def handle(self, read: bytes, start: int, end: int) -> int:
        payload = frames.payload_of(read, start, end)
        if read[start] != frames.METHOD:
            return end if self._add_to_returned(payload) else start
        match frames.method_of(payload):
            case (frames.ACK | frames.NACK) as method:
                self._confirm(payload, is_ack=method == frames.ACK)
            case frames.RETURN:
                self._returned = []
            case frames.CHANNEL_CLOSE:
                # The library gets the close too, and answers it. It is noted here first, because publishes continue
                # until the library's answer has closed the channel on our side.
                self._is_closed = True
                self._max_bytes = frames.message_limit_of(frames.close_reason_of(payload))
                return start
            case _:
                return start
        return end

    def _confirm(self, payload: bytes, *, is_ack: bool) -> None:
        """Resolve one publish, or all up to a tag.

        Under load RabbitMQ confirms many publishes with one `multiple` ack. The dict is in the order of the tags, so
        the search stops at the first larger tag. So the cost depends on the number of confirmed publishes, and not on
        that of all outstanding ones as in aiormq.
        """
        last, is_multiple = frames.confirm_of(payload)
        # Collected before any is resolved: a callback may publish at once, which changes the dict.
        tags = list(takewhile(last.__ge__, self._outstanding)) if is_multiple else (last,)
        for tag in tags:
            # A returned message was removed already: RabbitMQ also acks it, after the return that has resolved it.
            publication = self._outstanding.pop(tag, None)
            if publication is not None:
                publication.resolve(None if is_ack else PublishRefusedError("the broker refused a message"))

    def _add_to_returned(self, payload: bytes) -> bool:
        """Collect the header and body frames of a returned message; return False if none is being returned."""
        if self._returned is None:
            return False
        self._returned.append(payload)
        header = self._returned[0]
        # A message without a body ends with its header.
        if sum(map(len, self._returned[1:])) >= frames.body_bytes_of(header):
            self._returned = None
            self._resolve_returned(header)
        return True

    def _resolve_returned(self, header: bytes) -> None:
        # A return carries no delivery tag, only the message, so the message id identifies the publish. It is fresh for
        # each publish for this reason. Returns come in the order of the publishes, so the search ends near the front.
        message_id = frames.properties_of(header).message_id
        tag = next((tag for tag, sent in self._outstanding.items() if sent.message.message_id == message_id), None)
        if tag is not None:
            # Resolved before its ack, which comes next and must not count as a confirm.
            self._outstanding.pop(tag).resolve(UnroutableError("there is no such queue"))
            self._on_unroutable()


class LibraryPublishChannel(PublishChannel):
    """Publishes by the library's own methods, for versions of it that `wire` was not tested with."""

    def __init__(self, channel: Channel, *, on_unroutable: Callable[[], None]) -> None:
        self._channel = channel
        self._on_unroutable = on_unroutable
        self._sending: dict[Publication, asyncio.Task[None]] = {}  # unresolved, the oldest first

    @property
    @override
    def oldest(self) -> Publication | None:
        return next(iter(self._sending), None)

    @property
    @override
    def max_bytes(self) -> int | None:
        closing = self._channel.closing
        if not closing.done() or closing.cancelled():
            return None
        return frames.message_limit_of(str(closing.exception()))

    @override
    def send(self, publication: Publication) -> None:
        try:
            message = publication.message
            frames.content_header(message, len(message.body), _frame_max_of(self._channel))
        except HeadersTooLargeError as error:
            publication.resolve(error)
            return
        self._sending[publication] = asyncio.create_task(self._send(publication))
        publication.on_resolved(lambda: self._sending.pop(publication, None))

    @override
    def give_up(self) -> Sequence[Publication]:
        left, self._sending = self._sending, {}
        for sending in left.values():
            sending.cancel()
        return list(left)

    async def _send(self, publication: Publication) -> None:
        error = await self._answer_to(publication)
        # If it was given up, or a message too large has closed the channel, it stays unresolved for the next channel.
        if publication in self._sending and self.max_bytes is None:
            publication.resolve(error)

    async def _answer_to(self, publication: Publication) -> EventFlowError | None:
        try:
            answer = await self._channel.basic_publish(
                publication.message.body,
                exchange="",
                routing_key=publication.queue,
                properties=_properties(publication.message),
                mandatory=True,
                wait=False,  # the library does not wait for the socket under its lock; the confirm is awaited anyway
            )
        except ReturnedError:
            self._on_unroutable()
            return UnroutableError("there is no such queue")
        except DeliveryError:
            return PublishRefusedError("the broker refused a message")
        except CONNECTION_ERRORS as error:
            return BrokerUnavailableError(f"the connection was lost before a confirm: {error}")
        except asyncio.CancelledError:
            # Not passed on: this task is cancelled only by `give_up`, and by the library when a channel closes. Both
            # mean that the channel is gone.
            return BrokerUnavailableError("the connection was closed before a confirm")
        # Only an ack counts, and no other value that the library may return.
        return None if isinstance(answer, Basic.Ack) else PublishRefusedError(f"the broker answered with {answer!r}")


def _frame_max_of(channel: Channel) -> int:
    return channel.connection.connection_tune.frame_max or FRAME_MAX_BYTES


def _properties(message: Message) -> Basic.Properties:
    return Basic.Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers),
        delivery_mode=PERSISTENT,
        message_id=message.message_id,
    )
