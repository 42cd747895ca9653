"""The history of an operation: open, bounded in time, and closed at the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eventflow.errors import HistoryUnavailableError, SettingsError
from eventflow.history.opening import open_history
from eventflow.history.store import QUERY_MAX_S, HistoryStore
from eventflow.settings.environment import variable
from eventflow.settings.history import HistorySettings

URL_VARIABLE = variable(("history", "url"))


@asynccontextmanager
async def opened(settings: HistorySettings) -> AsyncIterator[HistoryStore]:
    """Open the history that the settings name, and close it at the end.

    Raises:
        SettingsError: They name none.
        HistoryUnavailableError: The library for this kind of store is not installed.
    """
    store = open_history(url_of(settings))
    try:
        yield store
    finally:
        await store.close()


def url_of(settings: HistorySettings) -> str:
    """Return the URL of the history, which may contain a password.

    Raises:
        SettingsError: There is none.
    """
    if settings.url is None:
        raise SettingsError(f"{URL_VARIABLE} is not set, so there is no history; docs/history.md describes the stores")
    return settings.url.get_secret_value()


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Bound the work of a person who waits, including the time to connect.

    Raises:
        HistoryUnavailableError: It was not done in time.
    """
    try:
        async with asyncio.timeout(QUERY_MAX_S):
            yield
    except TimeoutError:
        raise HistoryUnavailableError(f"the history has not answered within {QUERY_MAX_S:g} s") from None
