"""The numbers of rows in the outbox, and their age, by one query with a bounded cost."""

from dataclasses import dataclass
from typing import Final

from eventflow.postgres.connection import Connection

COUNTED_MAX: Final = 100_000
"""Rows of each kind that are counted at most, so that the query takes milliseconds at any backlog."""

_COUNTS: Final = f"""
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM eventflow.outbox WHERE parked_at IS NULL LIMIT {COUNTED_MAX}) AS waiting) AS pending,
        (SELECT count(*) FROM (
            SELECT FROM eventflow.outbox WHERE parked_at IS NOT NULL LIMIT {COUNTED_MAX}) AS parked) AS parked,
        (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
            FROM eventflow.outbox WHERE parked_at IS NULL ORDER BY number LIMIT 1) AS oldest_s
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxCounts:
    """Rows in the outbox.

    Attributes:
        pending: Rows to publish; at most `COUNTED_MAX`.
        parked: Rows that are no longer tried; at most `COUNTED_MAX`.
        oldest_s: Age of the first row to publish; 0 if there is none.
    """

    pending: int
    parked: int
    oldest_s: float


async def count(connection: Connection) -> OutboxCounts:
    """Count the rows."""
    row = await connection.fetchrow(_COUNTS)
    assert row is not None  # noqa: S101 - for the type checker: it is one row
    return OutboxCounts(pending=row["pending"], parked=row["parked"], oldest_s=max(0.0, row["oldest_s"] or 0.0))
