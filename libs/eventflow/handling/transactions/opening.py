"""The adapter for the database of a handler. A driver is imported only if it is used."""

from dataclasses import dataclass

from eventflow.errors import HandlerError
from eventflow.handling.transactions.port import Database, Transactions
from eventflow.handling.transactions.statements import Limits

EXTRA = "event-flow[postgres]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The database of a handler, which is connected to when it is used."""

    transactions: Transactions
    database: Database


async def open_url(url: str, *, connections_max: int, limits: Limits, application: str) -> Opened:
    """Prepare connections to the database of a `database_url`, of asyncpg.

    Args:
        url: A `postgresql://` URL.
        connections_max: Most transactions at a time.
        limits: Limits of each transaction.
        application: Name of the connections in `pg_stat_activity`.

    Raises:
        HandlerError: The driver is not installed, or does not understand the URL.
    """
    try:
        from eventflow.handling.transactions.pool import PoolTransactions, open_pool  # noqa: PLC0415
        from eventflow.handling.transactions.url_database import UrlDatabase  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise HandlerError(f"database_url requires the package {error.name}: pip install '{EXTRA}'") from None
    pool = await open_pool(url, connections_max=connections_max, application=application)
    return Opened(
        transactions=PoolTransactions(pool, limits=limits), database=UrlDatabase(url, application=application)
    )
