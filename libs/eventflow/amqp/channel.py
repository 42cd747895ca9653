"""Channels: opened, used for requests, and watched until they close.

The errors of the AMQP libraries are translated here, and only here: a request that fails, for any reason, raises
`BrokerUnavailableError` with the library's error as its cause.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import NoReturn, TypeVar

from aiormq import Channel
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelNotFoundEntity
from pamqp.exceptions import PAMQPException

from eventflow.amqp.connection import CLOSE_TIMEOUT_S, Connection, first_line, transport_of
from eventflow.errors import BrokerUnavailableError

RPC_TIMEOUT_S = 10

CONNECTION_ERRORS = (AMQPError, PAMQPException, OSError, RuntimeError, TimeoutError)
"""Errors of the AMQP libraries for an unusable connection or channel; a `RuntimeError` means that it is closed."""

T = TypeVar("T")


async def answered(action: str, request: Awaitable[T], *, timeout_s: float = RPC_TIMEOUT_S) -> T:
    """Wait for the broker's answer to a request.

    Args:
        action: The action of the request, as it is written after "cannot" in the error's text.
        request: A coroutine of the library.
        timeout_s: Longest wait.

    Raises:
        BrokerUnavailableError: The broker refused it or did not answer, or the connection was lost.
    """
    # The deadline is ours, because that of the library uses `asyncio.wait_for`, which up to Python 3.11 swallows a
    # cancellation that arrives together with the answer.
    try:
        async with asyncio.timeout(timeout_s):
            return await request
    except Exception as error:  # everything, because at the end of a stream the library raises a bare `Exception`
        raise BrokerUnavailableError(f"cannot {action}: {first_line(error)}") from error
    except asyncio.CancelledError as error:
        if is_cancelled_by_us():
            raise
        raise BrokerUnavailableError(f"cannot {action}: the connection was closed") from error


def is_missing(error: BrokerUnavailableError) -> bool:
    """Whether a request failed because its queue or exchange does not exist."""
    return isinstance(error.__cause__, ChannelNotFoundEntity)


def is_refused(error: BaseException) -> bool:
    """Whether a request failed because the user lacks a right."""
    return isinstance(error.__cause__, ChannelAccessRefused)


def is_cancelled_by_us() -> bool:
    """Whether a `CancelledError` is a cancellation of the current task, which must be passed on.

    If not, the library has raised it: at the end of a connection or channel, it cancels all waits for an answer.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def open_channel(connection: Connection, *, confirms: bool = False) -> Channel:
    """Open a channel.

    Args:
        connection: The connection to open it on.
        confirms: Whether the broker confirms publishes. A message that it returns then raises.

    Raises:
        BrokerUnavailableError: The connection is gone or does not answer.
    """
    number = connection.new_channel_number()
    opening = transport_of(connection).channel(number, publisher_confirms=confirms, on_return_raises=True)
    channel = await answered("open a channel", opening)
    assert isinstance(channel, Channel)  # noqa: S101 - for the type checker: the library declares the port only
    return channel


@asynccontextmanager
async def closed_channel(connection: Connection) -> AsyncIterator[Channel]:
    """Open a channel, and close it at the end of the context, so that the connection can be used without it.

    If the broker does not confirm the close within 2 s, the connection is aborted: as long as the broker has the
    channel, it keeps the consumers and their deliveries.

    Raises:
        BrokerUnavailableError: The connection is gone or does not answer.
    """
    channel = await open_channel(connection)
    try:
        yield channel
    finally:
        await _close(channel, connection)


async def _close(channel: Channel, connection: Connection) -> None:
    try:
        if not channel.is_closed:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await answered("close a channel", channel.close())
    except (BrokerUnavailableError, TimeoutError):
        connection.wire.abort()


async def until_closed(channel: Channel) -> NoReturn:
    """Wait until a channel, or its connection, is closed.

    Raises:
        BrokerUnavailableError: It is; the message is the reason.
    """
    closing = channel.closing
    await asyncio.wait({closing})
    reason = None if closing.cancelled() else closing.exception()
    raise BrokerUnavailableError("the channel was closed" if reason is None else first_line(reason)) from reason


def cancellation_of(channel: Channel) -> asyncio.Event:
    """Return an event that is set when the broker cancels a consumer of a channel. Call it before consuming."""
    cancellation = asyncio.Event()
    channel.on_consumer_cancel_callbacks.add(lambda _: cancellation.set())
    return cancellation


async def until_cancelled(cancellation: asyncio.Event) -> NoReturn:
    """Wait until the broker cancels a consumer.

    Raises:
        BrokerUnavailableError: It did.
    """
    await cancellation.wait()
    raise BrokerUnavailableError("the broker cancelled a consumer: its queue was deleted, or its timeout has passed")
