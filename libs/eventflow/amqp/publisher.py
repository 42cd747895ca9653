"""Confirmed publishing: a publish is done when the broker has said that it keeps the message, and not before.

Nothing is ever published on a consuming connection: during a memory alarm a single publish there would freeze its acks.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, NoReturn

import structlog
from aiormq import Channel

from eventflow.amqp.channel import is_refused, open_channel, until_closed
from eventflow.amqp.connection import Connection, is_blocked, wire_of
from eventflow.amqp.fanout import declare_fanout
from eventflow.amqp.presence import Presence
from eventflow.amqp.proofs import NO_BROADCAST, prove_publishing
from eventflow.amqp.publish_channel import Publication, PublishChannel, publish_channel_on
from eventflow.amqp.queues import declare_queues, find_missing
from eventflow.amqp.session import SESSION_PAUSE_S, keep_connected
from eventflow.errors import BrokerUnavailableError, MessageTooLargeError
from eventflow.message import Message
from eventflow.tasks import first_of
from eventflow.topology import QueueSpec

PublisherState = Literal["up", "blocked", "down", "refused"]

log = structlog.stdlib.get_logger()

WATCH_EVERY_S = 1.0
PROOF_POLL_S = 0.05

CONFIRM_MAX_S = 45.0
"""Longer than the library takes to notice a dead connection (33 s): what is left then is a confirm that is lost."""


class Publisher:
    """Publishes persistent, mandatory messages to queues, many unconfirmed at a time, on a connection of its own.

    Guarantee: `Publication.confirmed` returns only after a positive confirm of a quorum queue.
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
            specs: Queues to declare at each connect, and again when a message turns out to be unroutable.
            name: Shown in the management UI.
            fanouts: Exchanges to declare at each connect, for `broadcast`.
            presence: Learns which queues exist, and reports those that vanish.
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
        """Wait until the broker lets this user publish, or would but for its alarm.

        Consume only then: one line of the log about a right that is missing is enough, and no event is taken meanwhile.
        """
        while not (self._is_proved or self.state == "blocked"):  # noqa: ASYNC110 - an alarm sets no event
            await asyncio.sleep(PROOF_POLL_S)

    @property
    def state(self) -> PublisherState:
        """Whether a publish could be confirmed now.

        `blocked` means that the broker has an alarm, `refused` that the user lacks a right, which only a person gives.
        """
        if self._connection is None or self._channel is None or self._publish_channel is None:
            return self._idle_state
        if self._channel.is_closed and self._publish_channel.max_bytes is None:
            return self._idle_state
        if is_blocked(self._connection):
            return "blocked"
        return "up" if self._is_proved else self._idle_state

    @property
    def _idle_state(self) -> Literal["down", "refused"]:
        return "refused" if self._is_refused else "down"

    @property
    def oldest_unresolved_s(self) -> float:
        """How long the oldest of the unresolved publishes has been on its way; 0 where there is none."""
        oldest = None if self._publish_channel is None else self._publish_channel.oldest
        return 0.0 if oldest is None else time.monotonic() - oldest.started_s

    @property
    def max_bytes(self) -> int | None:
        """The largest body that the broker takes, as far as it is known: it says so only when one is too large."""
        return self._max_bytes

    async def run(self) -> None:
        """Stay connected for ever.

        Raises:
            TopologyMismatchError: A queue exists with other arguments.
        """
        await keep_connected(self._urls, name=self._name, session=self._session)

    def publish(self, message: Message, *, queue: str) -> Publication:
        """Start a publish.

        Raises:
            MessageTooLargeError: The broker is known to take no message of this size; nothing was sent.
            BrokerUnavailableError: There is no connection, or the broker blocks publishing; nothing was sent.
        """
        if self._max_bytes is not None and len(message.body) > self._max_bytes:
            raise MessageTooLargeError(body_bytes=len(message.body), max_bytes=self._max_bytes)
        match self.state:
            case "down":
                raise BrokerUnavailableError("no connection to the broker")
            case "refused":
                raise BrokerUnavailableError("the broker does not let this user publish")
            case "blocked":
                raise BrokerUnavailableError("the broker blocks publishing: it has a memory or disk alarm")
        assert self._publish_channel is not None  # noqa: S101 - for the type checker: it is up
        publication = Publication(message, queue)
        self._publish_channel.send(publication)
        return publication

    def broadcast(self, body: bytes, *, exchange: str) -> None:
        """Publish to whoever listens on a declared exchange now: neither kept nor confirmed to the caller.

        Raises:
            BrokerUnavailableError: Nothing can be published now.
        """
        if self.state != "up" or self._broadcast_channel is None:
            raise BrokerUnavailableError("no connection to the broker, or it blocks publishing")
        broadcasting = asyncio.create_task(self._broadcast(self._broadcast_channel, body, exchange))
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
        # Another node, or another configuration. The library's own way keeps the limit: with it a message too large
        # ends the session, and would end the next one too.
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
        """Keep a channel to publish on, and replace one that a message too large has closed (ADR 17).

        Every other publish that was under way there is sent again on the next channel, in the old order: the broker may
        have kept it, and has forgotten to confirm it.

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
        """Return what goes on of the publishes of a publish channel that a message too large has closed."""
        left = publish_channel.give_up()
        innocent = _without_too_large(left, publish_channel.max_bytes)
        if len(innocent) == len(left):  # the next channel could be closed for it as well, and so on
            error = BrokerUnavailableError("the broker closed a channel for a message that was not sent there")
            for publication in innocent:  # the channel has forgotten them, so nothing else would end their waits
                publication.resolve(error)
            raise error
        return innocent

    async def _open_fanouts(self, connection: Connection) -> Channel | None:
        """Open a channel of their own for broadcasts, which are not confirmed."""
        if not self._fanouts:
            return None
        channel = await open_channel(connection)
        for exchange in self._fanouts:  # publishing to an exchange that is not there closes the channel
            await declare_fanout(channel, exchange)
        return channel

    async def _declare_missing(self, connection: Connection) -> NoReturn:
        """Declare the queues again whenever a message turned out to be unroutable."""
        while True:
            await self._queue_missing.wait()
            # At once: after the pause others may have declared it again, and the loss would go unnoticed.
            await find_missing(connection, self._presence, [spec.name for spec in self._specs])
            await asyncio.sleep(SESSION_PAUSE_S)
            self._queue_missing.clear()
            await declare_queues(connection, self._specs, presence=self._presence)

    async def _watch(self, connection: Connection, opened: asyncio.Event) -> NoReturn:
        """Prove that publishing is allowed, then end a session whose confirms do not come.

        They may be late while the broker has an alarm.
        """
        probe = await open_channel(connection, confirms=True)
        await opened.wait()  # during an alarm the broker reads nothing more from a connection that has published
        await self._prove(connection, probe)
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self.oldest_unresolved_s > CONFIRM_MAX_S and not is_blocked(connection):
                raise BrokerUnavailableError(f"a publish has not been confirmed for {CONFIRM_MAX_S:g} s")

    async def _prove(self, connection: Connection, probe: Channel) -> None:
        """Publish where we are going to; without the right to do so events would only be held or spooled."""
        await prove_publishing(connection, probe)
        for exchange in self._fanouts:
            await prove_publishing(connection, probe, exchange=exchange, body=NO_BROADCAST)
        # The channel stays open: an alarm may have begun, and then the broker answers nothing more.
        self._is_proved, self._is_refused = True, False

    async def _broadcast(self, channel: Channel, body: bytes, exchange: str) -> None:
        with suppress(Exception, asyncio.CancelledError):  # the library's for any end of a connection
            await channel.basic_publish(body, exchange=exchange, wait=False)


def _without_too_large(publications: Sequence[Publication], max_bytes: int | None) -> Sequence[Publication]:
    """Resolve those that are larger than the broker takes, and return the others."""
    if max_bytes is None:
        return publications
    innocent = []
    for publication in publications:
        body_bytes = len(publication.message.body)
        if body_bytes > max_bytes:
            publication.resolve(MessageTooLargeError(body_bytes=body_bytes, max_bytes=max_bytes))
        else:
            innocent.append(publication)
    return innocent
