"""One connection to PostgreSQL, through PgBouncer too."""

from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_MAX_S = 3.0


class UnusableUrlError(Exception):
    """The driver does not understand the URL. The message has no part of it."""


async def connect(url: str, *, application: str) -> Connection:
    """Open a connection within `CONNECT_MAX_S`.

    Args:
        url: A `postgresql://` URL; its `sslmode` selects TLS.
        application: Name of the connection in `pg_stat_activity`.

    Raises:
        UnusableUrlError: The driver does not understand the URL.
        OSError: There is no connection; a `TimeoutError`, and each error of TLS, is one too.
        asyncpg.PostgresError: The server refuses the connection.
    """
    try:
        return await asyncpg.connect(
            url,
            timeout=CONNECT_MAX_S,
            # Behind PgBouncer, a statement that is prepared on one connection is not known to the next one.
            statement_cache_size=0,
            server_settings={"application_name": application},
        )
    except ValueError as error:
        if isinstance(error, OSError):  # a certificate that is not trusted is both
            raise
        # Without the message of the driver, which can have a part of the URL.
        raise UnusableUrlError("PostgreSQL does not understand the URL") from None


def place_of(url: str) -> str:
    """Return host and database of a URL, for messages."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "PostgreSQL"
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"
