"""Opens the store that a URL names. Each store is imported only when it is used, because one needs an extra."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from eventflow.errors import HistoryUnavailableError
from eventflow.history.store import HistoryStore
from eventflow.migration import Migration

SQLITE_PREFIX = "sqlite:///"
EXTRA = "event-flow[postgres]"


def open_history(url: str, *, min_free_bytes: int = 0) -> HistoryStore:
    """Return the store of `EVENTFLOW_HISTORY__URL`. It connects at its first use.

    Args:
        url: The URL.
        min_free_bytes: Room on the disk of an SQLite file below which no attempts are written.

    Raises:
        HistoryUnavailableError: The library for this kind of store is not installed.
    """
    path = path_of(url)
    if path is not None:
        from eventflow.history.sqlite.store import SqliteStore  # noqa: PLC0415

        return SqliteStore(path, min_free_bytes=min_free_bytes)
    try:
        from eventflow.history.postgres.store import PostgresStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise HistoryUnavailableError(
            f"the history in PostgreSQL requires the package {error.name}: pip install '{EXTRA}'"
        ) from None
    return PostgresStore(url)


def migrations_of(url: str) -> Sequence[Migration]:
    """Return all steps of the schema in the kind of store that a URL names. No store is needed for this."""
    if path_of(url) is not None:
        from eventflow.history.sqlite.migrations import MIGRATIONS  # noqa: PLC0415

        return MIGRATIONS
    from eventflow.history.postgres.migrations import MIGRATIONS as POSTGRES_MIGRATIONS  # noqa: PLC0415

    return POSTGRES_MIGRATIONS


def path_of(url: str) -> Path | None:
    """Return the file of an SQLite store, which the URL has literally; None for another store."""
    return Path(url.removeprefix(SQLITE_PREFIX)) if url.startswith(SQLITE_PREFIX) else None


def shown_url(url: str) -> str:
    """Return the URL of a store without its password and query, for output and logs."""
    if path_of(url) is not None:
        return url
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{hosts}{parts.path}"
