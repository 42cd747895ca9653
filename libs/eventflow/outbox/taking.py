"""The statements of the relay: take rows, and delete those that are published. Each runs in the caller's transaction.

A row is locked from the moment it is taken until the transaction ends, so no two relays publish it. There is no cursor:
a transaction can commit after one that began later and has higher numbers, so a cursor would pass over its rows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from eventflow.outbox.row import COLUMNS, Row
from eventflow.postgres.connection import Connection

BATCH_MAX_BYTES: Final = 32 * 1024 * 1024
"""Bodies that are read at a time. A larger one is read alone."""

_LOCK: Final = """
    SELECT number, octet_length(body) AS body_bytes FROM eventflow.outbox
    WHERE number >= $1 AND parked_at IS NULL AND (retry_at IS NULL OR retry_at <= now()) AND flow <> ALL ($2)
    ORDER BY number LIMIT $3
    FOR UPDATE SKIP LOCKED
"""

_READ: Final = f"""
    SELECT number, {", ".join(COLUMNS)}, created_at, tries FROM eventflow.outbox
    WHERE number = ANY ($1) ORDER BY number
"""  # noqa: S608 - the names of columns are constants

_DELETE: Final = "DELETE FROM eventflow.outbox WHERE number = ANY ($1)"

_DELETE_LATE: Final = """
    DELETE FROM eventflow.outbox WHERE number IN (
        SELECT number FROM eventflow.outbox JOIN unnest($1::bigint[], $2::text[]) AS published (number, id)
            USING (number, id)
        FOR UPDATE OF outbox SKIP LOCKED
    )
"""

_NOTE: Final = """
    UPDATE eventflow.outbox
    SET tries = tries + 1, error = failed.error, retry_at = now() + failed.pause,
        parked_at = CASE WHEN failed.pause IS NULL THEN now() END
    FROM unnest($1::bigint[], $2::text[], $3::interval[]) AS failed (number, error, pause)
    WHERE outbox.number = failed.number
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Rows that are locked, the lowest number first.

    Attributes:
        rows: Each with the columns of the table.
        is_all: Whether there were no more to take.
    """

    rows: Sequence[Row]
    is_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """A row that was not published for a reason of its own.

    Attributes:
        number: Number of the row.
        error: The reason, for people.
        pause_s: Time until the next try; None parks the row.
    """

    number: int
    error: str
    pause_s: float | None


async def take(connection: Connection, *, floor: int, rows: int, except_flows: Collection[str]) -> Taken:
    """Lock waiting rows that no other relay has locked.

    Args:
        floor: The lowest number to take. Index entries of deleted rows below it are not read.
        rows: The most rows.
        except_flows: Flows whose rows stay.
    """
    locked = await connection.fetch(_LOCK, floor, list(except_flows), rows)
    numbers, left_bytes = list[int](), BATCH_MAX_BYTES
    for row in locked:
        left_bytes -= row["body_bytes"]
        if numbers and left_bytes < 0:
            break
        numbers.append(row["number"])
    read = await connection.fetch(_READ, numbers) if numbers else []
    return Taken(rows=[dict(row) for row in read], is_all=len(numbers) == len(locked) < rows)


async def delete(connection: Connection, numbers: Sequence[int]) -> None:
    """Delete rows that are published."""
    await connection.execute(_DELETE, numbers)


async def delete_late(connection: Connection, rows: Sequence[Row]) -> None:
    """Delete rows that were published in an earlier transaction, if they are still there.

    After a failover to a standby that lacks the last inserts, a number can be that of another row. So the id counts
    too. A row that another relay has taken meanwhile is left to it: to wait for its confirms would hold up all rows.
    """
    await connection.execute(_DELETE_LATE, [row["number"] for row in rows], [row["id"] for row in rows])


async def note_failures(connection: Connection, failed: Sequence[FailedRow]) -> None:
    """Count a try of each row, and let it wait for the next one, or park it."""
    await connection.execute(
        _NOTE,
        [row.number for row in failed],
        [row.error for row in failed],
        [None if row.pause_s is None else timedelta(seconds=row.pause_s) for row in failed],
    )
