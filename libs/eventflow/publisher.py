"""Confirmed publishing: a publish is done when the broker has said that it keeps the message, and not before.

Nothing is ever published on a consuming connection: during a memory alarm a single publish there would freeze its acks.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, NoReturn

import structlog
from aio_pika.abc import AbstractConnection
from aiormq import Channel
from aiormq.exceptions import DeliveryError
from aiormq.exceptions import PublishError as ReturnedError
from pamqp.commands import Basic

from eventflow import broker
from eventflow.errors import (
    BrokerUnavailableError,
    PublishRefusedError,
    PublishTimeoutError,
    UnroutableError,
)
from eventflow.lifecycle import first_of
from eventflow.message import Message
from eventflow.topology import QueueSpec

log = structlog.stdlib.get_logger()

PERSISTENT = 2

WATCH_EVERY_S = 1.0
CONFIRM_MAX_S = 45.0
"""Longer than the library takes to notice a dead connection (33 s): what is left then is a confirm that is lost."""


class Publication:
    """One publish on its way. It stays unresolved until the broker confirms, refuses or returns it, or is lost.

    A publish that nobody waits for any more is not undone: the broker may still keep the message.
    """

    __slots__ = ("_answer",)

    def __init__(self, answer: "asyncio.Task[None]") -> None:
        self._answer = answer

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed it."""
        answer = self._answer
        return answer.done() and not answer.cancelled() and answer.exception() is None

    async def confirmed(self, *, timeout_s: float) -> None:
        """Return once the broker has confirmed. Waiting again after a timeout is allowed.

        Raises:
            PublishTimeoutError: Still unresolved.
            PublishRefusedError: The broker does not keep it.
            UnroutableError: There is no such queue.
            BrokerUnavailableError: The connection was lost first; whether the broker keeps it is unknown.
        """
        if not self._answer.done():
            await asyncio.wait({self._answer}, timeout=timeout_s)
        if not self._answer.done():
            raise PublishTimeoutError(f"no confirm within {timeout_s:g} s")
        self._answer.result()

    def on_resolved(self, callback: Callable[[], None]) -> None:
        """Call back once, as soon as the publish is no longer unresolved."""
        self._answer.add_done_callback(lambda _: callback())


class Publisher:
    """Publishes persistent, mandatory messages to queues, many unconfirmed at a time, on a connection of its own.

    Guarantee: `Publication.confirmed` returns only after a positive confirm of a quorum queue.
    """

    def __init__(
        self, urls: Sequence[str], *, specs: Sequence[QueueSpec], name: str, fanouts: Sequence[str] = ()
    ) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            specs: Queues to declare at each connect, and again when a message turns out to be unroutable.
            name: Shown in the management UI.
            fanouts: Exchanges to declare at each connect, for `announce`.
        """
        self._urls = urls
        self._specs = specs
        self._fanouts = fanouts
        self._name = name
        self._connection: AbstractConnection | None = None
        self._channel: Channel | None = None
        self._queue_missing = asyncio.Event()
        self._unresolved: dict[asyncio.Task[None], float] = {}  # since when, the oldest first

    @property
    def state(self) -> Literal["up", "blocked", "down"]:
        """Whether a publish could be confirmed now; `blocked` means that the broker has an alarm."""
        if self._connection is None or self._channel is None or self._channel.is_closed:
            return "down"
        return "blocked" if broker.is_blocked(self._connection) else "up"

    @property
    def oldest_unresolved_s(self) -> float:
        """How long the oldest of the unresolved publishes has been on its way; 0 where there is none."""
        since_s = next(iter(self._unresolved.values()), None)
        return 0.0 if since_s is None else time.monotonic() - since_s

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
        assert self._channel is not None  # noqa: S101 - for the type checker: not "down"
        answer = asyncio.create_task(self._publish(self._channel, message, queue))
        self._track(answer)
        return Publication(answer)

    def announce(self, body: bytes, *, exchange: str) -> None:
        """Publish to whoever listens on a declared exchange now: neither kept nor confirmed to the caller.

        Raises:
            BrokerUnavailableError: Nothing can be published now.
        """
        if self.state != "up" or self._channel is None:
            raise BrokerUnavailableError("no connection to the broker, or it blocks publishing")
        self._track(asyncio.create_task(self._announce(self._channel, body, exchange)))

    def _track(self, answer: "asyncio.Task[None]") -> None:
        self._unresolved[answer] = time.monotonic()
        answer.add_done_callback(self._resolve)

    def _resolve(self, answer: "asyncio.Task[None]") -> None:
        del self._unresolved[answer]
        if not answer.cancelled():
            answer.exception()  # seen: whoever published may have stopped waiting

    async def _session(self, connection: AbstractConnection) -> None:
        await broker.declare(connection, self._specs)
        channel = await broker.open_channel(connection, confirms=True)
        for exchange in self._fanouts:  # publishing to an exchange that is not there closes the channel
            await broker.declare_fanout(channel, exchange)
        self._connection, self._channel = connection, channel
        try:
            await first_of(broker.closed(channel), self._declare_missing(connection), self._watch(connection))
        finally:
            self._connection = self._channel = None
            for answer in tuple(self._unresolved):  # none outlives its session, whatever the library waits for
                answer.cancel()

    async def _declare_missing(self, connection: AbstractConnection) -> NoReturn:
        """Declare the queues again whenever a message turned out to be unroutable."""
        while True:
            await self._queue_missing.wait()
            await asyncio.sleep(broker.SESSION_PAUSE_S)
            self._queue_missing.clear()
            await broker.declare(connection, self._specs)

    async def _watch(self, connection: AbstractConnection) -> NoReturn:
        """End a session whose confirms do not come though the connection lives and the broker has no alarm."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self.oldest_unresolved_s > CONFIRM_MAX_S and not broker.is_blocked(connection):
                raise BrokerUnavailableError(f"a publish has not been confirmed for {CONFIRM_MAX_S:g} s")

    async def _announce(self, channel: Channel, body: bytes, exchange: str) -> None:
        with suppress(*broker.CONNECTION_ERRORS, asyncio.CancelledError):
            await channel.basic_publish(body, exchange=exchange, wait=False)

    async def _publish(self, channel: Channel, message: Message, queue: str) -> None:
        try:
            answer = await channel.basic_publish(
                message.body,
                exchange="",
                routing_key=queue,
                properties=_properties(message),
                mandatory=True,
                wait=False,  # not for the socket: the confirm is what counts
            )
        except ReturnedError as error:
            self._queue_missing.set()
            raise UnroutableError(f"there is no queue {queue}") from error
        except DeliveryError as error:
            raise PublishRefusedError(f"the broker refused a message for {queue}") from error
        except broker.CONNECTION_ERRORS as error:
            raise BrokerUnavailableError(f"the connection was lost before a confirm: {error}") from error
        except asyncio.CancelledError as error:  # by the library, or at the end of the session: nobody else does
            raise BrokerUnavailableError("the connection was closed before a confirm") from error
        if not isinstance(answer, Basic.Ack):
            raise PublishRefusedError(f"the broker answered a message for {queue} with {answer!r}")


def _properties(message: Message) -> Basic.Properties:
    return Basic.Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers),
        delivery_mode=PERSISTENT,
        message_id=message.message_id,
    )
