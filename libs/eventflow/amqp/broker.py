"""Connections to RabbitMQ: made, kept, and used to declare and measure queues.

A *session* is one connection and all that lives on it. It is never repaired: whatever breaks (the socket, a channel, a
consumer) ends it, and a new one starts from nothing. So there is no state in which half of it works (ADR 2).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Self, TypeAlias, TypeVar

import aiormq
import structlog
from aio_pika.abc import AbstractConnection
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import (
    AMQPError,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)
from pamqp.exceptions import PAMQPException
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter
from yarl import URL

from eventflow.amqp import wire
from eventflow.amqp.presence import Presence
from eventflow.amqp.tls import context_of
from eventflow.amqp.wired import WiredConnection
from eventflow.errors import BrokerUnavailableError, TopologyMismatchError
from eventflow.network.addresses import Route
from eventflow.network.broker_url import parse_broker_url
from eventflow.network.race import race
from eventflow.tasks import first_of
from eventflow.topology import PREFIX, QueueSpec, permissions_command

CONNECT_TIMEOUT_S = 10
RPC_TIMEOUT_S = 10
CLOSE_TIMEOUT_S = 2.0
"""How long a connection may take to close in order. The library waits 33 s for a broker that does not read."""

RECONNECT_PAUSE_MAX_S = 3
NEXT_URL_AFTER_S = 0.5
"""How long a broker has to let us in before the next is tried beside it. A handshake over TLS takes 8 round trips; one
broker that is silent must not use up the time that a sender waits for a confirm, which is 2 s."""

CONSUMERS_POLL_S = 0.005
STREAM_PREFETCH = 100
STREAM_SILENCE_S = 0.5
SESSION_PAUSE_S = 1
"""Between a broken session and the next: one that fails at once must not spin, and a queue that was deleted must not be
declared again before every consumer has heard of its end. RabbitMQ 3.10 forgets to tell those that it would find late,
and sends them nothing for ever."""

REFUSED_PAUSE_S = 5
"""After a refusal: rights are given by a person."""

CONNECTION_ERRORS = (AMQPError, PAMQPException, OSError, RuntimeError, TimeoutError)
"""What the AMQP libraries raise when a connection or channel is unusable; `RuntimeError` is theirs for "closed"."""

NO_QUEUE = f"{PREFIX}.nobody"
"""Routing key of messages that only prove the right to publish."""

T = TypeVar("T")

log = structlog.stdlib.get_logger()

Connection: TypeAlias = AbstractConnection
"""For those outside the adapters, who never see the AMQP libraries."""

Session = Callable[[AbstractConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """Messages that are ready in a queue, and how many consume from it."""

    messages: int
    consumers: int


def wire_of(connection: AbstractConnection) -> wire.Wire | None:
    """Return the wire to publish and consume on; None where the library's version is not one that it was tried with."""
    return connection.wire if isinstance(connection, WiredConnection) and wire.is_supported() else None


async def connect(url: str, *, name: str, route: Route | None = None) -> WiredConnection:
    """Open one connection, heartbeat 10 s, the handshake done within 10 s.

    Args:
        route: The way to the broker, if it has been used before.

    Raises:
        BrokerUnavailableError: Refused, silent, or not let in; the message says which URL (without password) and why.
    """
    broker = parse_broker_url(url)
    route = route or Route(broker.host, broker.port)
    connection: WiredConnection | None = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            context = None if broker.tls is None else await asyncio.to_thread(context_of, broker.tls)
            connection = WiredConnection(broker, route, context, name=name)
            await connection.connect()
    except Exception as error:  # the library passes on what reading raises if something else than a broker answers
        route.failed()
        words = None if connection is None else connection.wire.close_reason
        reason = words or ("no answer" if isinstance(error, TimeoutError) else _first_line(error))
        raise BrokerUnavailableError(f"cannot connect to {shown_url(url)}: {reason}") from error
    route.worked()
    return connection


async def connect_to_any(urls: Sequence[str], *, name: str) -> tuple[str, AbstractConnection]:
    """Open one connection to the first broker that lets us in; return its URL too.

    Raises:
        BrokerUnavailableError: None does; the message is the last one's.
    """

    async def attempt(url: str, _: Callable[[], None]) -> tuple[str, AbstractConnection]:
        return url, await connect(url, name=name)

    return await race(
        [partial(attempt, url) for url in urls], stagger_s=NEXT_URL_AFTER_S, discard=lambda second: _close(second[1])
    )


@asynccontextmanager
async def closing(connection: AbstractConnection) -> AsyncIterator[AbstractConnection]:
    """Close a connection at the end: in order if the broker takes part within 2 s, else by cutting it."""
    try:
        yield connection
    finally:
        await _close(connection)


async def _close(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await connection.close()
    except TimeoutError:
        log.debug("broker.connection_cut", reason=f"it did not close within {CLOSE_TIMEOUT_S:g} s")
    finally:
        if isinstance(connection, WiredConnection):
            connection.wire.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A broker that may be connected to."""

    url: str
    route: Route
    permissions_command: str

    @classmethod
    def of(cls, url: str) -> Self:
        broker = parse_broker_url(url)
        command = permissions_command(broker.username, vhost=broker.vhost)
        return cls(url=url, route=Route(broker.host, broker.port), permissions_command=command)


async def keep_connected(urls: Sequence[str], *, name: str, session: Session) -> None:
    """Run `session` on a connection, and on a new one whenever it breaks.

    The brokers are tried in their order, each 0.5 s after the one before or once that has refused, until one lets us
    in. This one is tried first from then on, unless the session ended although the connection stood, as it does on a
    node that has no majority, or has just begun.

    Returns when the session returns of its own accord.

    Raises:
        TopologyMismatchError: Raised by the session: starting again cannot help.
    """
    places = [_Place.of(url) for url in urls]
    refusal: str | None = None  # the one that is in the log already
    while True:
        place, connection = await _connect_to_first(places, name=name)
        began_s = time.monotonic()
        places.remove(place)
        places.insert(0, place)
        try:
            async with closing(connection):
                try:
                    log.info("broker.connected", connection=name, server=_server(connection))
                    return await session(connection)
                finally:
                    if not connection.wire.is_lost or time.monotonic() - began_s < SESSION_PAUSE_S:
                        places.append(places.pop(0))
        except (BrokerUnavailableError, *CONNECTION_ERRORS) as error:
            if is_cancelled_by_us():  # the library turns a cancellation that meets a closing connection into its error
                raise asyncio.CancelledError from error
            reason = connection.wire.close_reason or _first_line(error)
            if is_refused(error):
                if refusal != str(error.__cause__):
                    advice = place.permissions_command
                    log.error("broker.right_missing", connection=name, reason=reason, advice=advice)  # noqa: TRY400
                refusal = str(error.__cause__)
                await asyncio.sleep(REFUSED_PAUSE_S)
                continue
        except asyncio.CancelledError:
            if is_cancelled_by_us():
                raise
            reason = connection.wire.close_reason or "the connection was closed"
        refusal = None
        log.warning("broker.session_ended", connection=name, reason=reason)
        await asyncio.sleep(SESSION_PAUSE_S)


def is_cancelled_by_us() -> bool:
    """Whether a `CancelledError` is a cancellation of ours. The library cancels what waits on whatever it closes."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def answered(what: str, request: Awaitable[T]) -> T:
    """Wait for the broker's answer to a request, at most 10 s.

    The deadline is ours and not the library's, which uses `asyncio.wait_for`: up to Python 3.11 that swallows a
    cancellation that comes together with the answer.

    Raises:
        BrokerUnavailableError: It refused, did not answer, or was lost; says `what` could not be done, and why.
    """
    try:
        async with asyncio.timeout(RPC_TIMEOUT_S):
            return await request
    except Exception as error:  # it is the library's request; at the end of a stream it raises a bare `Exception`
        raise BrokerUnavailableError(f"cannot {what}: {_first_line(error)}") from error
    except asyncio.CancelledError as error:
        if is_cancelled_by_us():
            raise
        raise BrokerUnavailableError(f"cannot {what}: the connection was closed") from error


async def open_channel(connection: AbstractConnection, *, confirms: bool = False) -> Channel:
    """Open a channel, for confirmed publishing if asked to; a returned message then raises.

    Raises:
        BrokerUnavailableError: The connection is gone or does not answer.
    """
    channel = await answered(
        "open a channel", _transport(connection).channel(publisher_confirms=confirms, on_return_raises=True)
    )
    assert isinstance(channel, Channel)  # noqa: S101 - for the type checker: the library declares the port only
    return channel


def cancellation_of(channel: Channel) -> asyncio.Event:
    """Return an event that is set when the broker cancels a consumer of a channel; ask before consuming."""
    cancellation = asyncio.Event()
    channel.on_consumer_cancel_callbacks.add(lambda _: cancellation.set())
    return cancellation


async def closed(channel: Channel) -> NoReturn:
    """Wait until a channel, or the connection below it, has closed.

    Raises:
        BrokerUnavailableError: It has; says why.
    """
    closing = channel.closing
    await asyncio.wait({closing})
    reason = None if closing.cancelled() else closing.exception()
    raise BrokerUnavailableError("the channel was closed" if reason is None else _first_line(reason)) from reason


async def cancelled(cancellation: asyncio.Event) -> NoReturn:
    """Wait until the broker has cancelled a consumer.

    Raises:
        BrokerUnavailableError: It has.
    """
    await cancellation.wait()
    raise BrokerUnavailableError("the broker cancelled a consumer: its queue was deleted, or its time was up")


def is_blocked(connection: AbstractConnection) -> bool:
    """Whether the broker blocks publishing on this connection (memory or disk alarm).

    The library tells this only by a coroutine that waits for the end of it; one step of that coroutine is the answer.
    """
    waiting = _transport(connection).ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    finally:
        waiting.close()
    return True


async def declare(
    connection: AbstractConnection, specs: Sequence[QueueSpec], *, presence: Presence | None = None
) -> tuple[str, ...]:
    """Declare queues with all their arguments; return those whose arguments we were not allowed to verify.

    Args:
        presence: Learns which queues exist; first, those that it knows and that are gone by now are reported.

    Raises:
        TopologyMismatchError: A queue exists with other arguments; quotes the broker.
        BrokerUnavailableError: The broker cannot answer now.
    """
    if presence is not None:
        await find_missing(connection, presence, [spec.name for spec in specs])
    unverified = []
    channel = await open_channel(connection)
    for spec in specs:
        try:
            await answered(
                f"declare {spec.name}", channel.queue_declare(spec.name, durable=True, arguments=dict(spec.arguments))
            )
        except BrokerUnavailableError as error:
            match error.__cause__:
                case ChannelPreconditionFailed() as cause:
                    raise TopologyMismatchError(
                        f"queue {spec.name} exists with other arguments. RabbitMQ says: {_first_line(cause)}. "
                        "Drain and delete that queue, or use another broker or virtual host"
                    ) from cause
                case ChannelAccessRefused():
                    channel = await _look_up_unprivileged(connection, spec.name)
                    unverified.append(spec.name)
                case _:
                    raise
        else:
            if presence is not None:
                presence.found(spec.name)
    await answered("close a channel", channel.close())
    if unverified:
        log.warning("broker.queues_unverified", queues=unverified, reason="this user may not declare them")
    return tuple(unverified)


def is_missing(error: BrokerUnavailableError) -> bool:
    """Whether a request failed because its queue or exchange does not exist."""
    return isinstance(error.__cause__, ChannelNotFoundEntity)


def is_refused(error: BaseException) -> bool:
    """Whether a request failed because the user lacks a right."""
    return isinstance(error.__cause__, ChannelAccessRefused)


async def find_missing(connection: AbstractConnection, presence: Presence, queues: Iterable[str]) -> None:
    """Look for those of the queues that were there before, and report each that is gone.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    for queue in presence.known(queues):
        try:
            if await depth_of(connection, queue) is None:
                presence.missed(queue)
        except BrokerUnavailableError as error:
            if not is_refused(error):
                raise


async def exists(connection: AbstractConnection, exchange: str) -> bool:
    """Whether there is such an exchange.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    channel = await open_channel(connection)
    try:
        await answered(f"look up exchange {exchange}", channel.exchange_declare(exchange, passive=True))
    except BrokerUnavailableError as error:
        if is_missing(error):
            return False
        raise
    await answered("close a channel", channel.close())
    return True


async def declare_fanout(channel: Channel, exchange: str) -> None:
    """Declare a durable fanout exchange.

    Raises:
        BrokerUnavailableError: The broker refused it or does not answer.
    """
    await answered(
        f"declare exchange {exchange}", channel.exchange_declare(exchange, exchange_type="fanout", durable=True)
    )


async def prove_publishing(
    connection: AbstractConnection, channel: Channel, *, exchange: str = "", body: bytes = b""
) -> None:
    """Return once the broker has taken a message that no queue gets, however long an alarm keeps it from that.

    Args:
        channel: A confirm channel that nothing else publishes on.
        exchange: The default exchange, or one behind which `body` is ignored.

    Raises:
        BrokerUnavailableError: This user may not publish there, or the broker does not answer.
    """
    what = f"publish to {exchange or 'the default exchange'}"
    while True:
        try:
            await answered(what, channel.basic_publish(body, exchange=exchange, routing_key=NO_QUEUE))
        except BrokerUnavailableError as error:
            if not (isinstance(error.__cause__, TimeoutError) and is_blocked(connection)):
                raise
        else:
            return


async def prove_reading(connection: AbstractConnection, queue: str) -> None:
    """Return if this user may consume from a queue, without a consumer that would take something.

    RabbitMQ looks at rights before it looks for the queue, and for the queue before it looks at arguments. One that it
    takes for wrong makes it refuse to consume in any case, and the reason is the answer.

    Raises:
        BrokerUnavailableError: This user may not, or the broker does not answer.
    """
    channel = await open_channel(connection)
    try:
        await answered(f"consume from {queue}", channel.basic_consume(queue, _ignore, arguments={"x-priority": ""}))
    except BrokerUnavailableError as error:
        if not (is_missing(error) or isinstance(error.__cause__, ChannelPreconditionFailed)):
            raise


async def _ignore(_: DeliveredMessage) -> None:
    """Do nothing with a delivery: it was taken before the library saw it."""


async def consume_exclusively(channel: Channel, queue: str, *, exchange: str, on_body: Callable[[bytes], None]) -> None:
    """Bind a queue that lives and dies with this connection to an exchange, and consume from it without acks.

    Raises:
        BrokerUnavailableError: The broker refused it, or an earlier connection of ours still holds the queue.
    """

    async def deliver(message: DeliveredMessage) -> None:
        on_body(message.body)

    what = f"listen on {queue}"
    await answered(what, channel.queue_declare(queue, exclusive=True, auto_delete=True))
    await answered(what, channel.queue_bind(queue, exchange))
    await answered(what, channel.basic_consume(queue, deliver, no_ack=True))


async def consume(
    channel: Channel,
    queue: str,
    *,
    prefetch: int,
    consumer_tag: str,
    on_message: Callable[[DeliveredMessage], Coroutine[Any, Any, None]] = _ignore,
) -> str:
    """Start a consumer of a queue and return its tag.

    Args:
        prefetch: Unsettled deliveries to hold.
        on_message: Called with each delivery that the library sees.

    Raises:
        BrokerUnavailableError: The broker refused it or does not answer.
    """
    # A prefetch applies to the consumers that start after it.
    await answered("set a prefetch", channel.basic_qos(prefetch_count=prefetch))
    what = f"consume from {queue}"
    answer = await answered(what, channel.basic_consume(queue, on_message, consumer_tag=consumer_tag))
    return str(answer.consumer_tag)


async def follow_stream(
    connection: AbstractConnection,
    queue: str,
    *,
    on_body: Callable[[bytes], None],
    on_empty: Callable[[], None],
    silence_s: float,
) -> Callable[[], Coroutine[Any, Any, NoReturn]]:
    """Hand over the last messages of a stream and each that follows, or tell that there are none yet.

    A broker counts the messages of a stream with a delay of seconds. So a stream is taken for empty when the broker has
    counted none and nothing comes within `silence_s` either.

    Returns:
        What waits for the end of it, and then raises `BrokerUnavailableError`.

    Raises:
        BrokerUnavailableError: The broker refused it.
    """
    channel = await open_channel(connection)
    cancellation = cancellation_of(channel)

    has_come = asyncio.Event()

    async def deliver(message: DeliveredMessage) -> None:
        has_come.set()
        on_body(message.body)
        with suppress(Exception):  # an ack only asks for more; a lost connection tells its users itself
            await channel.basic_ack(message.delivery_tag or 0, wait=False)

    async def ended() -> NoReturn:
        await first_of(closed(channel), cancelled(cancellation))
        raise AssertionError("unreachable: both only raise")

    counted = (await look_up(channel, queue)).messages
    what = f"follow {queue}"
    await answered(what, channel.basic_qos(prefetch_count=STREAM_PREFETCH))  # a stream demands one
    await answered(what, channel.basic_consume(queue, deliver, arguments={"x-stream-offset": "last"}))
    try:
        async with asyncio.timeout(RPC_TIMEOUT_S if counted else silence_s):
            await has_come.wait()
    except TimeoutError:
        if counted:
            raise BrokerUnavailableError(f"cannot {what}: {counted} messages, and none comes") from None
        on_empty()
    return ended


async def last_of_stream(connection: AbstractConnection, queue: str) -> bytes | None:
    """Return the last message of a stream, which stays there; None where it has none, or there is no such stream.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    if await depth_of(connection, queue) is None:
        return None
    bodies: asyncio.Queue[bytes | None] = asyncio.Queue()
    await follow_stream(
        connection,
        queue,
        on_body=bodies.put_nowait,
        on_empty=partial(bodies.put_nowait, None),
        silence_s=STREAM_SILENCE_S,
    )
    last = None
    with suppress(TimeoutError):  # what was published at the same time comes together
        while True:
            async with asyncio.timeout(STREAM_SILENCE_S):
                last = await bodies.get()
    return last


async def depth_of(connection: AbstractConnection, queue: str) -> QueueDepth | None:
    """Count a queue's ready messages and consumers; None where there is no such queue.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    channel = await open_channel(connection)
    try:
        depth = await look_up(channel, queue)
    except BrokerUnavailableError as error:
        if is_missing(error):
            return None
        raise  # the channel needs no closing: a request that fails ends it
    await answered("close a channel", channel.close())
    return depth


async def look_up(channel: Channel, queue: str) -> QueueDepth:
    """Count a queue's ready messages and consumers, on a channel that the caller keeps for that.

    Raises:
        BrokerUnavailableError: There is no such queue, which closes the channel, or the broker does not answer.
    """
    answer = await answered(f"look up {queue}", channel.queue_declare(queue, passive=True))
    return QueueDepth(messages=answer.message_count or 0, consumers=answer.consumer_count or 0)


async def prove_majority(channel: Channel, queue: str) -> None:
    """Return once a majority of a quorum queue's members has agreed to something; `queue` must be empty for ever.

    A passive declare is answered by the leader that the asked node knows, out of its own memory, also by one that is
    cut off from all others. A new consumer is entered in the queue's log, which takes a majority. Its end is a second
    entry, after which the queue forgets both. Purging and `basic.get` need a majority too, but RabbitMQ closes the
    connection if the leader has just died; a new consumer is offered to each member in turn.

    Raises:
        BrokerUnavailableError: No majority answers within 10 s, or the queue is gone, which closes the channel.
    """
    answer = await answered(f"reach a majority for {queue}", channel.basic_consume(queue, _ignore, no_ack=True))
    await answered(f"leave {queue}", channel.basic_cancel(str(answer.consumer_tag)))


async def wait_for_consumers(connection: AbstractConnection, queue: str, *, at_most: int, timeout_s: float) -> bool:
    """Wait until a queue has no more than so many consumers; False where that takes too long.

    A quorum queue drops a cancelled consumer as soon as nothing that it holds is unsettled. Settlements that come fast
    wait in the channel, and closing it throws them away, so that what was acked comes again (rabbitmq-server issue
    10327): wait for this before closing.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    deadline_s = time.monotonic() + timeout_s  # looked at between requests: the library can swallow a cancellation
    while (depth := await depth_of(connection, queue)) is not None and depth.consumers > at_most:
        if time.monotonic() > deadline_s:
            return False
        await asyncio.sleep(CONSUMERS_POLL_S)
    return True


def shown_url(url: str) -> str:
    """Return a broker URL without its password and query, for logs and errors."""
    parsed = URL(url)
    return str(parsed.with_query(None).with_password("***" if parsed.password else None))


def server_version(connection: AbstractConnection) -> str:
    """Return the version that the broker gave when it let us in."""
    version = _transport(connection).server_properties.get("version", b"")
    return version.decode() if isinstance(version, bytes) else str(version)


async def _connect_to_first(places: Sequence[_Place], *, name: str) -> tuple[_Place, WiredConnection]:
    """Connect to the first of the brokers that lets us in, however long that takes.

    Each is tried again on its own: one that is silent must not keep us from another that has just started.
    """

    async def attempt(place: _Place, next_may_begin: Callable[[], None]) -> tuple[_Place, WiredConnection]:
        return place, await _connect_persistently(place, name=name, on_failure=next_may_begin)

    return await race(
        [partial(attempt, place) for place in places],
        stagger_s=NEXT_URL_AFTER_S,
        discard=lambda second: _close(second[1]),
    )


async def _connect_persistently(place: _Place, *, name: str, on_failure: Callable[[], None]) -> WiredConnection:
    def report(state: RetryCallState) -> None:
        on_failure()
        error = state.outcome.exception() if state.outcome else None
        log.warning("broker.connection_failed", connection=name, reason=str(error), attempt=state.attempt_number)

    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(BrokerUnavailableError),
        wait=wait_exponential_jitter(multiplier=0.2, max=RECONNECT_PAUSE_MAX_S, jitter=0.2),
        before_sleep=report,
    ):
        with attempt:
            return await connect(place.url, name=name, route=place.route)
    raise AssertionError("unreachable: the retrying above has no end")


async def _look_up_unprivileged(connection: AbstractConnection, queue: str) -> Channel:
    """See that a queue exists, where even that may be refused; return an open channel.

    Raises:
        BrokerUnavailableError: There is no such queue. That is no refusal: a collector's own user may leave
            it to the processors.
    """
    channel = await open_channel(connection)
    try:
        await look_up(channel, queue)
    except BrokerUnavailableError as error:
        if is_missing(error):
            raise BrokerUnavailableError(
                f"there is no {queue}, and this user may not declare it, which takes all rights on it and write on "
                "amq.default; a processor declares it too"
            ) from error
        if not is_refused(error):
            raise
        channel = await open_channel(connection)  # a mandatory publish will tell whether it exists
    return channel


def _transport(connection: AbstractConnection) -> aiormq.abc.AbstractConnection:
    if connection.transport is None:
        raise BrokerUnavailableError("the connection is closed")
    return connection.transport.connection


def _server(connection: AbstractConnection) -> str:
    return f"RabbitMQ {server_version(connection)}"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
