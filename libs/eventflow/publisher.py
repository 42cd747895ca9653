"""Confirmed publishing: a publish is done when the broker has said that it keeps the message, and not before.

Nothing is ever published on a consuming connection: during a memory alarm a single publish there would freeze its acks.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, NoReturn

from aio_pika.abc import AbstractConnection
from aiormq import Channel

from eventflow import broker
from eventflow.errors import BrokerUnavailableError
from eventflow.lifecycle import first_of
from eventflow.message import Message
from eventflow.outlet import Outlet, Publication, outlet_on
from eventflow.presence import Presence
from eventflow.topology import QueueSpec

WATCH_EVERY_S = 1.0
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
            fanouts: Exchanges to declare at each connect, for `announce`.
            presence: Learns which queues exist, and reports those that vanish.
        """
        self._urls = urls
        self._specs = specs
        self._fanouts = fanouts
        self._presence = presence or Presence()
        self._name = name
        self._connection: AbstractConnection | None = None
        self._channel: Channel | None = None
        self._outlet: Outlet | None = None
        self._queue_missing = asyncio.Event()
        self._announcements: Channel | None = None
        self._announcing: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> Literal["up", "blocked", "down"]:
        """Whether a publish could be confirmed now; `blocked` means that the broker has an alarm."""
        if self._connection is None or self._channel is None or self._channel.is_closed:
            return "down"
        return "blocked" if broker.is_blocked(self._connection) else "up"

    @property
    def oldest_unresolved_s(self) -> float:
        """How long the oldest of the unresolved publishes has been on its way; 0 where there is none."""
        oldest = None if self._outlet is None else self._outlet.oldest
        return 0.0 if oldest is None else time.monotonic() - oldest.started_s

    async def run(self) -> None:
        """Stay connected for ever.

        Raises:
            TopologyMismatchError: A queue exists with other arguments.
        """
        await broker.keep_connected(self._urls, name=self._name, session=self._session)

    def publish(self, message: Message, *, queue: str) -> Publication:
        """Start a publish.

        Raises:
            BrokerUnavailableError: There is no connection, or the broker blocks publishing; nothing was sent.
        """
        match self.state:
            case "down":
                raise BrokerUnavailableError("no connection to the broker")
            case "blocked":
                raise BrokerUnavailableError("the broker blocks publishing: it has a memory or disk alarm")
        assert self._outlet is not None  # noqa: S101 - for the type checker: not "down"
        return self._outlet.send(message, queue)

    def announce(self, body: bytes, *, exchange: str) -> None:
        """Publish to whoever listens on a declared exchange now: neither kept nor confirmed to the caller.

        Raises:
            BrokerUnavailableError: Nothing can be published now.
        """
        if self.state != "up" or self._announcements is None:
            raise BrokerUnavailableError("no connection to the broker, or it blocks publishing")
        announcing = asyncio.create_task(self._announce(self._announcements, body, exchange))
        self._announcing.add(announcing)
        announcing.add_done_callback(self._announcing.discard)

    async def _session(self, connection: AbstractConnection) -> None:
        await broker.declare(connection, self._specs, presence=self._presence)
        channel = await broker.open_channel(connection, confirms=True)
        self._announcements = await self._open_fanouts(connection)
        self._outlet = outlet = outlet_on(connection, channel, on_unroutable=self._queue_missing.set)
        self._connection, self._channel = connection, channel
        try:
            await first_of(
                *(broker.closed(used) for used in (channel, self._announcements) if used is not None),
                self._declare_missing(connection),
                self._watch(connection),
            )
        finally:
            self._connection = self._channel = self._outlet = self._announcements = None
            outlet.abandon()

    async def _open_fanouts(self, connection: AbstractConnection) -> Channel | None:
        """Open a channel of their own for announcements, which nobody confirms."""
        if not self._fanouts:
            return None
        channel = await broker.open_channel(connection)
        for exchange in self._fanouts:  # publishing to an exchange that is not there closes the channel
            await broker.declare_fanout(channel, exchange)
        return channel

    async def _declare_missing(self, connection: AbstractConnection) -> NoReturn:
        """Declare the queues again whenever a message turned out to be unroutable."""
        while True:
            await self._queue_missing.wait()
            # At once: after the pause others may have declared it again, and the loss would go unnoticed.
            await broker.find_missing(connection, self._presence, [spec.name for spec in self._specs])
            await asyncio.sleep(broker.SESSION_PAUSE_S)
            self._queue_missing.clear()
            await broker.declare(connection, self._specs, presence=self._presence)

    async def _watch(self, connection: AbstractConnection) -> NoReturn:
        """End a session whose confirms do not come though the connection lives and the broker has no alarm."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self.oldest_unresolved_s > CONFIRM_MAX_S and not broker.is_blocked(connection):
                raise BrokerUnavailableError(f"a publish has not been confirmed for {CONFIRM_MAX_S:g} s")

    async def _announce(self, channel: Channel, body: bytes, exchange: str) -> None:
        with suppress(*broker.CONNECTION_ERRORS, asyncio.CancelledError):
            await channel.basic_publish(body, exchange=exchange, wait=False)
