"""Confirmed publishing: a publish is done only when the broker has confirmed that it keeps the message.

Nothing is ever published on a consuming connection: during a memory alarm one publish there would stop its acks.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Literal, NoReturn

import structlog
from aiormq import Channel

from eventflow.amqp.channel import is_refused, open_channel, until_closed
from eventflow.amqp.connection import Connection, wire_of
from eventflow.amqp.fanout import declare_fanout, send_fanout
from eventflow.amqp.presence import Presence
from eventflow.amqp.proofs import prove_broadcasting, prove_publishing
from eventflow.amqp.publish_channel import Publication, PublishChannel, publish_channel_on
from eventflow.amqp.queues import declare_queues, find_missing
from eventflow.amqp.session import SESSION_PAUSE_S, keep_connected
from eventflow.errors import BrokerUnavailableError, MessageTooLargeError
from eventflow.message import Message
from eventflow.tasks import first_of
from eventflow.topology import QueueSpec

PublisherState = Literal["up", "blocked", "down", "refused"]

_UNAVAILABLE: Mapping[PublisherState, str] = {
    "down": "no connection to the broker",
    "refused": "the broker does not let this user publish",
    "blocked": "the broker blocks publishing: it has a memory or disk alarm",
}

log = structlog.stdlib.get_logger()

WATCH_EVERY_S = 1.0
PROOF_POLL_S = 0.05

CONFIRM_LOST_AFTER_S = 45.0
"""Time after which a publish without a confirm ends the session. The library detects a dead connection after 33 s, so a
confirm that is missing for longer is lost although the connection works."""


class Publisher:
    """Publishes persistent, mandatory messages to queues, many at a time, on a connection of its own.

    Guarantee: `Publication.confirmed` returns only after a quorum queue has confirmed the message.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        specs: Sequence[QueueSpec],
        name: str,
        fanouts: Sequence[str] = (),
        presence: Presence | None = None,
    ) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            urls: URLs of the brokers, the preferred one first.
            specs: Queues to declare at each connect, and again after a message was unroutable.
            name: Shown in the management UI.
            fanouts: Exchanges to declare at each connect, for `broadcast`.
            presence: Notes which queues exist, and reports those that vanish.
        """
        self._urls = urls
        self._specs = specs
        self._fanouts = fanouts
        self._presence = presence or Presence()
        self._name = name
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._publish_channel: PublishChannel | None = None
        self._queue_missing = asyncio.Event()
        self._max_bytes: int | None = None
        self._broadcast_channel: Channel | None = None
        self._broadcasting: set[asyncio.Task[None]] = set()
        self._is_proved = False
        self._is_refused = False

    async def may_publish(self) -> None:
        """Wait until this user has proved the right to publish, or until an alarm delays the proof.

        A consumer starts only after this. So a missing right is logged once, by the publisher, and no delivery is
        accepted while its copy could not be published.
        """
        while not (self._is_proved or self.state == "blocked"):  # noqa: ASYNC110 - an alarm sets no event
            await asyncio.sleep(PROOF_POLL_S)

    @property
    def state(self) -> PublisherState:
        """Whether a publish could be confirmed now.

        `blocked`: the broker has an alarm. `refused`: the user lacks a right, which only a person can grant.
        """
        if self._connection is None or self._channel is None or self._publish_channel is None:
            return self._idle_state
        # A channel that an oversized message has closed is being replaced, so the publisher is still up.
        if self._channel.is_closed and self._publish_channel.max_bytes is None:
            return self._idle_state
        if self._connection.wire.is_blocked:
            return "blocked"
        return "up" if self._is_proved else self._idle_state

    @property
    def _idle_state(self) -> Literal["down", "refused"]:
        return "refused" if self._is_refused else "down"

    @property
    def oldest_unresolved_s(self) -> float:
        """Age of the oldest unresolved publish; 0 if there is none."""
        oldest = None if self._publish_channel is None else self._publish_channel.oldest
        return 0.0 if oldest is None else time.monotonic() - oldest.started_s

    @property
    def max_bytes(self) -> int | None:
        """The largest body that the broker accepts; None until a larger one has revealed the limit."""
        return self._max_bytes

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            TopologyMismatchError: A queue exists with other arguments.
        """
        await keep_connected(self._urls, name=self._name, session=self._session)

    def publish(self, message: Message, *, queue: str) -> Publication:
        """Start a publish.

        Raises:
            MessageTooLargeError: The broker is known to accept no message of this size; nothing was sent.
            BrokerUnavailableError: There is no connection, or the broker blocks publishing; nothing was sent.
        """
        if self._max_bytes is not None and len(message.body) > self._max_bytes:
            raise MessageTooLargeError(body_bytes=len(message.body), max_bytes=self._max_bytes)
        channel, state = self._publish_channel, self.state
        if channel is None or state != "up":
            raise BrokerUnavailableError(_UNAVAILABLE[state])
        publication = Publication(message, queue)
        channel.send(publication)
        return publication

    def broadcast(self, body: bytes, *, exchange: str) -> None:
        """Publish to all present listeners of a declared exchange. The message is not kept; its loss is not reported.

        Raises:
            BrokerUnavailableError: Nothing can be published now.
        """
        if self.state != "up" or self._broadcast_channel is None:
            raise BrokerUnavailableError("no connection to the broker, or it blocks publishing")
        broadcasting = asyncio.create_task(send_fanout(self._broadcast_channel, body, exchange=exchange))
        self._broadcasting.add(broadcasting)
        broadcasting.add_done_callback(self._broadcasting.discard)

    async def _session(self, connection: Connection) -> None:
        try:
            await self._publish_on(connection)
        except BrokerUnavailableError as error:
            if is_refused(error):
                self._is_refused = True
            raise
        finally:
            self._is_proved = False

    async def _publish_on(self, connection: Connection) -> None:
        await declare_queues(connection, self._specs, presence=self._presence)
        self._broadcast_channel = await self._open_fanouts(connection)
        opened = asyncio.Event()
        # The limit is forgotten, because this may be another node or a new configuration. It is kept if the library
        # publishes: there an oversized message ends the session, and the same message would end the next one.
        if wire_of(connection) is not None:
            self._max_bytes = None
        try:
            await first_of(
                self._keep_publish_channel(connection, opened),
                *(until_closed(used) for used in (self._broadcast_channel,) if used is not None),
                self._declare_missing(connection),
                self._watch(connection, opened),
            )
        finally:
            left = [] if self._publish_channel is None else self._publish_channel.give_up()
            self._connection = self._channel = self._publish_channel = self._broadcast_channel = None
            for publication in _without_too_large(left, self._max_bytes):
                publication.resolve(BrokerUnavailableError("the connection was closed before a confirm"))

    async def _keep_publish_channel(self, connection: Connection, opened: asyncio.Event) -> NoReturn:
        """Keep a channel to publish on, and replace it after an oversized message has closed it (ADR 17).

        Every other unresolved publish of the closed channel is sent again on the next one, in the same order. The
        broker may have kept it already, but its confirm is lost, so this can duplicate a message and loses none.

        Raises:
            BrokerUnavailableError: The channel was closed for another reason.
        """
        while True:
            channel = await open_channel(connection, confirms=True)
            publish_channel = publish_channel_on(connection, channel, on_unroutable=self._queue_missing.set)
            for publication in () if self._publish_channel is None else self._taken_over(self._publish_channel):
                publish_channel.send(publication)
            self._connection, self._channel, self._publish_channel = connection, channel, publish_channel
            opened.set()
            try:
                await until_closed(channel)
            except BrokerUnavailableError:
                if publish_channel.max_bytes is None:
                    raise
            self._max_bytes = publish_channel.max_bytes
            log.warning("broker.message_too_large", connection=self._name, max_bytes=publish_channel.max_bytes)

    def _taken_over(self, publish_channel: PublishChannel) -> Sequence[Publication]:
        """Return the publishes to send again after an oversized message closed their channel; resolve the others."""
        left = publish_channel.give_up()
        sendable = _without_too_large(left, publish_channel.max_bytes)
        if len(sendable) == len(left):
            # No publish is above the limit in the broker's error, so the oversized one is unknown. Sent again, it would
            # close the next channel too, and so on without end.
            error = BrokerUnavailableError("the broker closed a channel for a message that was not sent there")
            for publication in sendable:  # the channel has forgotten them, so nothing else would end their waits
                publication.resolve(error)
            raise error
        return sendable

    async def _open_fanouts(self, connection: Connection) -> Channel | None:
        """Declare the fanout exchanges, and open a channel without confirms for broadcasts."""
        if not self._fanouts:
            return None
        channel = await open_channel(connection)
        for exchange in self._fanouts:  # a publish to an exchange that does not exist closes the channel
            await declare_fanout(channel, exchange)
        return channel

    async def _declare_missing(self, connection: Connection) -> NoReturn:
        """Declare the queues again after each unroutable message."""
        while True:
            await self._queue_missing.wait()
            # Before the pause: during it another service may declare the queue again, which would hide its loss.
            await find_missing(connection, self._presence, [spec.name for spec in self._specs])
            await asyncio.sleep(SESSION_PAUSE_S)
            # Cleared before declaring: a message that is returned meanwhile starts another round.
            self._queue_missing.clear()
            await declare_queues(connection, self._specs, presence=self._presence)

    async def _watch(self, connection: Connection, opened: asyncio.Event) -> NoReturn:
        """Prove that publishing is allowed; then end the session if a confirm is missing without an alarm."""
        probe = await open_channel(connection, confirms=True)
        # The proof publishes, and during an alarm the broker reads nothing from a connection that has published. So all
        # channels of the session are opened before it.
        await opened.wait()
        await self._prove(connection, probe)
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self.oldest_unresolved_s > CONFIRM_LOST_AFTER_S and not connection.wire.is_blocked:
                raise BrokerUnavailableError(f"a publish has not been confirmed for {CONFIRM_LOST_AFTER_S:g} s")

    async def _prove(self, connection: Connection, probe: Channel) -> None:
        """Publish to each exchange in use, so that a missing right is detected before an event is accepted."""
        await prove_publishing(connection, probe)
        for exchange in self._fanouts:
            await prove_broadcasting(probe, exchange)
        # The channel of the proof stays open: if an alarm has begun, the broker would not answer its close.
        self._is_proved, self._is_refused = True, False


def _without_too_large(publications: Sequence[Publication], max_bytes: int | None) -> Sequence[Publication]:
    """Resolve the publishes that are larger than the broker accepts, and return the others."""
    if max_bytes is None:
        return publications
    sendable = []
    for publication in publications:
        body_bytes = len(publication.message.body)
        if body_bytes > max_bytes:
            publication.resolve(MessageTooLargeError(body_bytes=body_bytes, max_bytes=max_bytes))
        else:
            sendable.append(publication)
    return sendable
