"""Queues: declared with all their arguments, measured, and checked when one may have vanished."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from aiormq import Channel
from aiormq.exceptions import ChannelPreconditionFailed

from eventflow.amqp.channel import RPC_TIMEOUT_S, answered, is_missing, is_refused, open_channel
from eventflow.amqp.connection import Connection, first_line
from eventflow.amqp.presence import Presence
from eventflow.errors import BrokerUnavailableError, TopologyMismatchError
from eventflow.topology import QueueSpec

CONSUMERS_POLL_S = 0.005

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """Number of ready messages in a queue, and of its consumers."""

    messages: int
    consumers: int


async def declare_queues(
    connection: Connection, specs: Sequence[QueueSpec], *, presence: Presence | None = None
) -> tuple[str, ...]:
    """Declare queues with all their arguments; return those that this user may not verify.

    Args:
        connection: The connection to declare on.
        specs: The queues, each after its dead-letter target.
        presence: Notes which queues exist. Before that, queues that it knows and that are gone by now are reported.

    Raises:
        TopologyMismatchError: A queue exists with other arguments; the message quotes the broker.
        BrokerUnavailableError: The broker cannot answer now.
    """
    if presence is not None:
        await find_missing(connection, presence, [spec.name for spec in specs])
    unverified = []
    # Never a passive declare first: it succeeds for a queue with any arguments.
    channel = await open_channel(connection)
    for spec in specs:
        try:
            await answered(
                f"declare {spec.name}", channel.queue_declare(spec.name, durable=True, arguments=dict(spec.arguments))
            )
        except BrokerUnavailableError as error:
            if isinstance(cause := error.__cause__, ChannelPreconditionFailed):
                raise TopologyMismatchError(
                    f"queue {spec.name} exists with other arguments. RabbitMQ's reason: {first_line(cause)}. "
                    "Empty and delete that queue, or use another broker or virtual host"
                ) from cause
            if not is_refused(error):
                raise
            channel = await _find_unprivileged(connection, spec.name)  # the refusal has closed the one before
            unverified.append(spec.name)
        else:
            if presence is not None:
                presence.found(spec.name)
    await answered("close a channel", channel.close())
    if unverified:
        log.warning("broker.queues_unverified", queues=unverified, reason="this user may not declare them")
    return tuple(unverified)


async def find_missing(connection: Connection, presence: Presence, queues: Iterable[str]) -> None:
    """Report each of the queues that was there before and is gone.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    channel: Channel | None = None
    for queue, discovery in presence.known(queues).items():
        channel = channel or await open_channel(connection)
        try:
            await measure(channel, queue)
        except BrokerUnavailableError as error:
            channel = None  # a request that fails closes its channel
            if is_missing(error):
                presence.missed(queue, discovery)
            elif not is_refused(error):  # without the right to check a queue, nothing is known
                raise
    if channel is not None:
        await answered("close a channel", channel.close())


async def depth_of(connection: Connection, queue: str) -> QueueDepth | None:
    """Count a queue's ready messages and consumers, on a channel of its own; None if there is no such queue.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    channel = await open_channel(connection)
    try:
        depth = await measure(channel, queue)
    except BrokerUnavailableError as error:
        if is_missing(error):
            return None
        raise  # the channel needs no closing: a request that fails closes it
    await answered("close a channel", channel.close())
    return depth


async def measure(channel: Channel, queue: str, *, timeout_s: float = RPC_TIMEOUT_S) -> QueueDepth:
    """Count a queue's ready messages and consumers, on a channel that the caller keeps for this purpose.

    Raises:
        BrokerUnavailableError: There is no such queue, which closes the channel, or the broker does not answer.
    """
    answer = await answered(f"look up {queue}", channel.queue_declare(queue, passive=True), timeout_s=timeout_s)
    return QueueDepth(messages=answer.message_count or 0, consumers=answer.consumer_count or 0)


async def wait_for_consumers(connection: Connection, queue: str, *, at_most: int, timeout_s: float) -> bool:
    """Wait until a queue has at most `at_most` consumers; return False if that takes longer than `timeout_s`.

    Call this after cancelling consumers and before closing their channel. When settlements come fast, some wait inside
    the channel in the broker, and closing it drops them, so that acked messages are delivered again (rabbitmq-server
    issue 10327). A quorum queue counts a cancelled consumer for as long as it has unsettled deliveries, so a lower
    number of consumers shows that the queue has received all settlements.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    # A deadline that is checked between requests, and no timeout around them: the library can swallow a cancellation.
    deadline_s = time.monotonic() + timeout_s
    while (depth := await depth_of(connection, queue)) is not None and depth.consumers > at_most:
        if time.monotonic() > deadline_s:
            return False
        await asyncio.sleep(CONSUMERS_POLL_S)
    return True


async def _find_unprivileged(connection: Connection, queue: str) -> Channel:
    """Check that a queue exists that this user may not declare; return an open channel.

    Raises:
        BrokerUnavailableError: There is no such queue. This is not reported as a refusal: the user of a collector may
            lack the right on purpose, and a processor will declare the queue.
    """
    channel = await open_channel(connection)
    try:
        await measure(channel, queue)
    except BrokerUnavailableError as error:
        if is_missing(error):
            raise BrokerUnavailableError(
                f"there is no {queue}, and this user may not declare it, which takes all rights on it and write on "
                "amq.default; a processor declares it too"
            ) from error
        if not is_refused(error):
            raise
        # Not even the check is allowed. A publish to the queue is mandatory and will show whether it exists.
        channel = await open_channel(connection)
    return channel
