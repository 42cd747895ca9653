"""The broker connection of a command."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from eventflow.operations.session import Link, connected
from eventflow.settings.root import Settings

T = TypeVar("T")


def with_link(settings: Settings, operation: Callable[[Link], Awaitable[T]]) -> T:
    """Connect to the broker, and return the result of an operation on the connection.

    Raises:
        BrokerUnavailableError: No broker answers.
    """

    async def connected_operation() -> T:
        async with connected(settings.broker.urls) as link:
            return await operation(link)

    return asyncio.run(connected_operation())
