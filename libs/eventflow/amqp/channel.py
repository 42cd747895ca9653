"""A channel: opened, asked, and watched until it closes. The errors of the AMQP libraries are translated here, once."""

import asyncio
from collections.abc import Awaitable
from typing import NoReturn, TypeVar

from aiormq import Channel
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelNotFoundEntity
from pamqp.exceptions import PAMQPException

from eventflow.amqp.connection import Connection, first_line, transport_of
from eventflow.errors import BrokerUnavailableError

RPC_TIMEOUT_S = 10

CONNECTION_ERRORS = (AMQPError, PAMQPException, OSError, RuntimeError, TimeoutError)
"""What the AMQP libraries raise when a connection or channel is unusable; `RuntimeError` is theirs for "closed"."""

T = TypeVar("T")


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
        raise BrokerUnavailableError(f"cannot {what}: {first_line(error)}") from error
    except asyncio.CancelledError as error:
        if is_cancelled_by_us():
            raise
        raise BrokerUnavailableError(f"cannot {what}: the connection was closed") from error


def is_missing(error: BrokerUnavailableError) -> bool:
    """Whether a request failed because its queue or exchange does not exist."""
    return isinstance(error.__cause__, ChannelNotFoundEntity)


def is_refused(error: BaseException) -> bool:
    """Whether a request failed because the user lacks a right."""
    return isinstance(error.__cause__, ChannelAccessRefused)


def is_cancelled_by_us() -> bool:
    """Whether a `CancelledError` is a cancellation of ours. The library cancels what waits on whatever it closes."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def open_channel(connection: Connection, *, confirms: bool = False) -> Channel:
    """Open a channel, for confirmed publishing if asked to; a returned message then raises.

    Raises:
        BrokerUnavailableError: The connection is gone or does not answer.
    """
    channel = await answered(
        "open a channel", transport_of(connection).channel(publisher_confirms=confirms, on_return_raises=True)
    )
    assert isinstance(channel, Channel)  # noqa: S101 - for the type checker: the library declares the port only
    return channel


async def until_closed(channel: Channel) -> NoReturn:
    """Wait until a channel, or the connection below it, has closed.

    Raises:
        BrokerUnavailableError: It has; says why.
    """
    closing = channel.closing
    await asyncio.wait({closing})
    reason = None if closing.cancelled() else closing.exception()
    raise BrokerUnavailableError("the channel was closed" if reason is None else first_line(reason)) from reason


def cancellation_of(channel: Channel) -> asyncio.Event:
    """Return an event that is set when the broker cancels a consumer of a channel; ask before consuming."""
    cancellation = asyncio.Event()
    channel.on_consumer_cancel_callbacks.add(lambda _: cancellation.set())
    return cancellation


async def until_cancelled(cancellation: asyncio.Event) -> NoReturn:
    """Wait until the broker has cancelled a consumer.

    Raises:
        BrokerUnavailableError: It has.
    """
    await cancellation.wait()
    raise BrokerUnavailableError("the broker cancelled a consumer: its queue was deleted, or its time was up")
