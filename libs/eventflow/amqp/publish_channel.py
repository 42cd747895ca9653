"""How a publish leaves on a confirm channel, and what becomes of it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from aiormq import Channel
from aiormq.exceptions import DeliveryError
from aiormq.exceptions import PublishError as ReturnedError
from pamqp.commands import Basic

from eventflow.amqp import frames, wire
from eventflow.amqp.channel import CONNECTION_ERRORS
from eventflow.amqp.connection import Connection, wire_of
from eventflow.errors import (
    BrokerUnavailableError,
    EventFlowError,
    PublishRefusedError,
    PublishTimeoutError,
    UnroutableError,
)
from eventflow.message import Message

PERSISTENT = 2

log = structlog.stdlib.get_logger()


class Publication:
    """One publish on its way. It stays unresolved until the broker confirms, refuses or returns it, or is lost.

    A publish that nobody waits for any more is not undone: the broker may still keep the message.
    """

    __slots__ = ("_callbacks", "_error", "_is_resolved", "_waiters", "message", "queue", "started_s")

    def __init__(self, message: Message, queue: str) -> None:
        self.message = message
        self.queue = queue
        self.started_s = time.monotonic()
        self._is_resolved = False
        self._error: EventFlowError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._callbacks: list[Callable[[], object]] = []

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed it."""
        return self._is_resolved and self._error is None

    async def confirmed(self, *, timeout_s: float) -> None:
        """Return once the broker has confirmed. Waiting again after a timeout is allowed.

        Raises:
            PublishTimeoutError: Still unresolved.
            PublishRefusedError: The broker does not keep it.
            UnroutableError: There is no such queue.
            MessageTooLargeError: The broker takes no message of this size.
            BrokerUnavailableError: The connection was lost first; whether the broker keeps it is unknown.
        """
        if not self._is_resolved:
            await self._wait(timeout_s)
        if not self._is_resolved:
            raise PublishTimeoutError(f"no confirm within {timeout_s:g} s")
        if self._error is not None:
            raise self._error

    def on_resolved(self, callback: Callable[[], object]) -> None:
        """Call back once, as soon as the publish is no longer unresolved."""
        if self._is_resolved:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._callbacks.append(callback)

    def resolve(self, error: EventFlowError | None = None) -> None:
        """Note what became of it, once: confirmed, or `error`. For whoever publishes it."""
        if self._is_resolved:
            return
        self._is_resolved, self._error = True, error
        for waiter in self._waiters:
            _wake(waiter)
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # what is told of a publish ends neither the reading of confirms nor others' publishes
                log.exception("publish.callback_failed")

    async def _wait(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(timeout_s, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.remove(waiter)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class PublishChannel(Protocol):
    """Publishes on one channel, confirmed, for as long as that lives."""

    @property
    def oldest(self) -> Publication | None:
        """The publish that has been unresolved for the longest; None where there is none."""

    @property
    def max_bytes(self) -> int | None:
        """The broker's limit, if a message above it has closed the channel; what is sent from then on only waits."""

    def send(self, publication: Publication) -> None:
        """Start a publish."""

    def give_up(self) -> Sequence[Publication]:
        """Forget and return what is unresolved, the oldest first: the channel is gone, and no publish outlives it."""


def publish_channel_on(
    connection: Connection, channel: Channel, *, on_unroutable: Callable[[], None]
) -> PublishChannel:
    """Return the fastest way to publish on a confirm channel that the installed library allows.

    Nothing else may publish on that channel.

    Args:
        on_unroutable: Called whenever a message was returned because its queue does not exist.
    """
    below = wire_of(connection)
    if below is None:
        return LibraryPublishChannel(channel, on_unroutable=on_unroutable)
    return WirePublishChannel(below, channel, on_unroutable=on_unroutable)


class WirePublishChannel:
    """Writes publishes and reads their confirms itself, many at a time (ADR 12)."""

    def __init__(self, below: wire.Wire, channel: Channel, *, on_unroutable: Callable[[], None]) -> None:
        """Take the channel's confirms from now on. It must be fresh: the broker counts its publishes from 1."""
        self._wire = below
        self._number = channel.number
        self._frame_max = channel.connection.connection_tune.frame_max
        self._on_unroutable = on_unroutable
        self._is_closed = False
        self._max_bytes: int | None = None
        self._sent = 0
        self._outstanding: dict[int, Publication] = {}  # by delivery tag, in order
        self._returned: list[bytes] | None = None  # header and body so far of a message that comes back
        below.take_channel(channel.number, self)

    @property
    def oldest(self) -> Publication | None:
        """See `PublishChannel`."""
        return next(iter(self._outstanding.values()), None)

    @property
    def max_bytes(self) -> int | None:
        """See `PublishChannel`."""
        return self._max_bytes

    def send(self, publication: Publication) -> None:
        """See `PublishChannel`."""
        if not self._is_closed:  # a publish on a channel that is closed ends the connection
            self._wire.send(
                frames.publish_frames(
                    publication.message, queue=publication.queue, channel=self._number, frame_max=self._frame_max
                )
            )
        # Counted only now: a publish that was counted and not sent would give each later one its predecessor's confirm.
        self._sent += 1
        self._outstanding[self._sent] = publication

    def give_up(self) -> Sequence[Publication]:
        """See `PublishChannel`."""
        left, self._outstanding = self._outstanding, {}
        return list(left.values())

    def take(self, kind: int, payload: bytes) -> bool:
        """Take confirms and what is returned; see `Frames`."""
        if kind != frames.METHOD:
            return self._take_returned(payload)
        match frames.method_of(payload):
            case (frames.ACK | frames.NACK) as method:
                self._confirm(frames.confirm_of(payload, method))
            case frames.RETURN:
                self._returned = []
            case _:
                if payload.startswith(frames.CHANNEL_CLOSE):
                    self._is_closed = True
                    self._max_bytes = frames.message_limit_of(frames.close_reason_of(payload))
                return False
        return True

    def _confirm(self, confirm: frames.Confirm) -> None:
        tags = [confirm.tag]
        if confirm.multiple:
            tags = []
            for tag in self._outstanding:
                if tag > confirm.tag:
                    break
                tags.append(tag)
        for tag in tags:
            publication = self._outstanding.pop(tag, None)
            if publication is not None:
                publication.resolve(None if confirm.is_ack else PublishRefusedError("the broker refused a message"))

    def _take_returned(self, payload: bytes) -> bool:
        """Collect a message that comes back, before its ack; what is left of it is of no use to anybody."""
        if self._returned is None:
            return False
        self._returned.append(payload)
        header = self._returned[0]
        if sum(map(len, self._returned[1:])) >= frames.body_bytes_of(header):
            self._returned = None
            self._return(header)
        return True

    def _return(self, header: bytes) -> None:
        message_id = frames.properties_of(header).message_id
        # Returns come in the order of the publishes: it is one of the first that are outstanding.
        tag = next((tag for tag, sent in self._outstanding.items() if sent.message.message_id == message_id), None)
        if tag is not None:
            self._outstanding.pop(tag).resolve(UnroutableError("there is no such queue"))
            self._on_unroutable()


class LibraryPublishChannel:
    """The library's own way, for versions of it that the wire was not tried with."""

    def __init__(self, channel: Channel, *, on_unroutable: Callable[[], None]) -> None:
        self._channel = channel
        self._on_unroutable = on_unroutable
        self._sending: dict[Publication, asyncio.Task[None]] = {}  # the oldest first

    @property
    def oldest(self) -> Publication | None:
        """See `PublishChannel`."""
        return next(iter(self._sending), None)

    @property
    def max_bytes(self) -> int | None:
        """See `PublishChannel`."""
        closing = self._channel.closing
        if not closing.done() or closing.cancelled():
            return None
        return frames.message_limit_of(str(closing.exception()))

    def send(self, publication: Publication) -> None:
        """See `PublishChannel`."""
        self._sending[publication] = asyncio.create_task(self._send(publication))
        publication.on_resolved(lambda: self._sending.pop(publication, None))

    def give_up(self) -> Sequence[Publication]:
        """See `PublishChannel`."""
        left, self._sending = self._sending, {}
        for sending in left.values():
            sending.cancel()
        return list(left)

    async def _send(self, publication: Publication) -> None:
        error = await self._answer_to(publication)
        if publication in self._sending and self.max_bytes is None:  # else it goes on elsewhere
            publication.resolve(error)

    async def _answer_to(self, publication: Publication) -> EventFlowError | None:
        try:
            answer = await self._channel.basic_publish(
                publication.message.body,
                exchange="",
                routing_key=publication.queue,
                properties=_properties(publication.message),
                mandatory=True,
                wait=False,  # not for the socket: the confirm is what counts
            )
        except ReturnedError:
            self._on_unroutable()
            return UnroutableError("there is no such queue")
        except DeliveryError:
            return PublishRefusedError("the broker refused a message")
        except CONNECTION_ERRORS as error:
            return BrokerUnavailableError(f"the connection was lost before a confirm: {error}")
        except asyncio.CancelledError:  # by the library, or at the end of the session: nobody else does
            return BrokerUnavailableError("the connection was closed before a confirm")
        return None if isinstance(answer, Basic.Ack) else PublishRefusedError(f"the broker answered with {answer!r}")


def _properties(message: Message) -> Basic.Properties:
    return Basic.Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers),
        delivery_mode=PERSISTENT,
        message_id=message.message_id,
    )
