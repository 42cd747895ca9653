"""The store of a command."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from eventflow.history.opening import shown_url
from eventflow.history.store import HistoryStore
from eventflow.operations.history.session import opened, url_of
from eventflow.settings.root import Settings

T = TypeVar("T")


def with_history(settings: Settings, operation: Callable[[HistoryStore], Awaitable[T]]) -> T:
    """Open the history, and return the result of an operation on it.

    Raises:
        SettingsError: No history is configured.
        HistoryError: The store cannot be used.
    """

    async def with_open_store() -> T:
        async with opened(settings.history) as store:
            return await operation(store)

    return asyncio.run(with_open_store())


def store_name(settings: Settings) -> str:
    """Return the URL of the history without its password."""
    return shown_url(url_of(settings.history))
