"""Queues: declared with all their arguments, measured, and looked for when one may have vanished."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from aiormq import Channel
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed

from eventflow.amqp.channel import answered, is_missing, is_refused, open_channel
from eventflow.amqp.connection import Connection, first_line
from eventflow.amqp.presence import Presence
from eventflow.errors import BrokerUnavailableError, TopologyMismatchError
from eventflow.topology import QueueSpec

CONSUMERS_POLL_S = 0.005

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """Messages that are ready in a queue, and how many consume from it."""

    messages: int
    consumers: int


async def declare_queues(
    connection: Connection, specs: Sequence[QueueSpec], *, presence: Presence | None = None
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
                        f"queue {spec.name} exists with other arguments. RabbitMQ says: {first_line(cause)}. "
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


async def find_missing(connection: Connection, presence: Presence, queues: Iterable[str]) -> None:
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


async def depth_of(connection: Connection, queue: str) -> QueueDepth | None:
    """Count a queue's ready messages and consumers; None where there is no such queue.

    Raises:
        BrokerUnavailableError: The broker cannot answer now.
    """
    channel = await open_channel(connection)
    try:
        depth = await measure(channel, queue)
    except BrokerUnavailableError as error:
        if is_missing(error):
            return None
        raise  # the channel needs no closing: a request that fails ends it
    await answered("close a channel", channel.close())
    return depth


async def measure(channel: Channel, queue: str) -> QueueDepth:
    """Count a queue's ready messages and consumers, on a channel that the caller keeps for that.

    Raises:
        BrokerUnavailableError: There is no such queue, which closes the channel, or the broker does not answer.
    """
    answer = await answered(f"look up {queue}", channel.queue_declare(queue, passive=True))
    return QueueDepth(messages=answer.message_count or 0, consumers=answer.consumer_count or 0)


async def wait_for_consumers(connection: Connection, queue: str, *, at_most: int, timeout_s: float) -> bool:
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


async def _look_up_unprivileged(connection: Connection, queue: str) -> Channel:
    """See that a queue exchange_exists, where even that may be refused; return an open channel.

    Raises:
        BrokerUnavailableError: There is no such queue. That is no refusal: a collector's own user may leave
            it to the processors.
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
        channel = await open_channel(connection)  # a mandatory publish will tell whether it exchange_exists
    return channel
