"""All attempts of a selection, one page at a time, while others are recorded."""

from collections.abc import AsyncIterator

from eventflow.history.filters import PAGE_MAX, AttemptFilter, Cursor
from eventflow.history.records import AttemptRecord
from eventflow.history.store import ArchiveStore


def cursor_of(attempt: AttemptRecord) -> Cursor:
    """Return the place of an attempt in a list."""
    return Cursor(attempt.started_at, attempt.id)


async def pages_of(store: ArchiveStore, selection: AttemptFilter) -> AsyncIterator[list[AttemptRecord]]:
    """Yield the selected attempts, the newest first. Those that start meanwhile come before the first, so this ends.

    Raises:
        HistoryError: The store cannot be read.
    """
    after: Cursor | None = None
    while page := await store.attempts(selection, after=after, limit=PAGE_MAX):
        yield page
        if len(page) < PAGE_MAX:
            return
        after = cursor_of(page[-1])
