"""Changes of the history: statements on one connection, in the transaction that the caller has begun."""

from collections.abc import AsyncIterator, Collection, Sequence

from eventflow.history.columns import columns_of
from eventflow.history.postgres.copying import copied
from eventflow.history.records import (
    Action,
    Batch,
    FlowMinute,
    Gap,
    MinuteCount,
    MinuteKey,
    storable_attempts,
    storable_text,
)
from eventflow.postgres.connection import Connection

_ADD_COUNTS = """
    INSERT INTO eventflow.{table} AS kept (minute, flow, outcome, reason, status, bucket, attempts, duration_us)
    SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::int[], $6::smallint[], $7::int[],
        $8::bigint[])
    ON CONFLICT (flow, minute, outcome, reason, status, bucket) DO UPDATE
    SET attempts = kept.attempts + excluded.attempts, duration_us = kept.duration_us + excluded.duration_us
"""

_MINUTES_BY_TABLE = {"minutes": 1, "hours": 60}
"""The tables of counts, and the number of minutes that each row of them counts."""

_ADD_GAPS = """
    INSERT INTO eventflow.gaps (writer, flow, since, until, attempts, reason)
    SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::text[])
"""

_NUMBER_BATCH = """
    INSERT INTO eventflow.writers AS known (name, batch, started_at, seen_at) VALUES ($1, $2, now(), now())
    ON CONFLICT (name) DO UPDATE SET batch = excluded.batch, seen_at = now(), ended_at = NULL
    WHERE known.batch < excluded.batch
    RETURNING true
"""

_END_WRITER = "UPDATE eventflow.writers SET seen_at = now(), ended_at = now() WHERE name = $1"

_PUT_FLOW_MINUTES = """
    INSERT INTO eventflow.flow_minutes AS kept (flow, at, accepted, waiting, dead, oldest_s, spooled)
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::float8[],
        $7::bigint[])
    ON CONFLICT (flow, at) DO UPDATE
    SET accepted = coalesce(excluded.accepted, kept.accepted), waiting = coalesce(excluded.waiting, kept.waiting),
        dead = coalesce(excluded.dead, kept.dead), oldest_s = coalesce(excluded.oldest_s, kept.oldest_s),
        spooled = coalesce(excluded.spooled, kept.spooled)
"""

_PUT_ACTION = """
    INSERT INTO eventflow.actions (id, at, operator, flow, kind, detail) VALUES ($1, $2, $3, $4, $5, $6)
"""


class RepeatedBatchError(Exception):
    """A batch is on record already."""


async def append(connection: Connection, batch: Batch) -> None:
    """Write a batch.

    Raises:
        RepeatedBatchError: It is on record already; its transaction must be given up.
    """
    if batch.attempts:
        columns = columns_of(storable_attempts(batch.attempts))
        await connection.copy_to_table(
            "attempts",
            schema_name="eventflow",
            columns=[*columns.same, *columns.varying],
            source=_once(copied(columns)),
            format="binary",
        )
    if batch.minutes:
        for table, length in _MINUTES_BY_TABLE.items():
            await _add_counts(connection, table, length, batch.minutes)
    if batch.gaps:
        await _add_gaps(connection, batch.gaps)
    # This statement locks the row of the writer. If the connection was lost during COMMIT, the server may still commit
    # the first try: then the repeated batch waits here until that transaction has ended, and sees its number.
    if not await connection.fetchval(_NUMBER_BATCH, batch.writer, batch.number):
        raise RepeatedBatchError


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def end_writer(connection: Connection, writer: str) -> None:
    """Note that a writer ends."""
    await connection.fetch(_END_WRITER, writer)


async def put_flow_minutes(connection: Connection, minutes: Collection[FlowMinute]) -> None:
    """Write the backlogs of flows."""
    rows = sorted(
        ((m.flow, m.at, m.accepted, m.waiting, m.dead, m.oldest_s, m.spooled) for m in minutes),
        key=lambda row: row[:2],
    )
    await connection.fetch(_PUT_FLOW_MINUTES, *map(list, zip(*rows, strict=True)))


async def put_action(connection: Connection, action: Action) -> None:
    """Put an action on record."""
    texts = map(storable_text, (action.by, action.flow, action.kind, action.detail))
    await connection.fetch(_PUT_ACTION, action.id, action.at, *texts)


async def forget(connection: Connection, event_id: str) -> int:
    """Delete the attempts of an event; return their number."""
    deleted = await connection.fetch(
        "DELETE FROM eventflow.attempts WHERE event_id = $1 RETURNING 1", storable_text(event_id)
    )
    return len(deleted)


async def _add_counts(connection: Connection, table: str, minutes: int, counts: Sequence[MinuteCount]) -> None:
    """Add counts, in the order of their keys: two writers then lock common rows in the same order, without deadlock.

    One statement cannot change a row twice, so equal keys are added up first.
    """
    sums: dict[MinuteKey, tuple[int, int]] = {}
    for count in counts:
        key = count.key._replace(minute=count.key.minute // minutes * minutes)
        attempts, duration_us = sums.get(key, (0, 0))
        sums[key] = attempts + count.attempts, duration_us + count.duration_us
    rows = [(*key, *sums[key]) for key in sorted(sums)]
    await connection.fetch(_ADD_COUNTS.format(table=table), *map(list, zip(*rows, strict=True)))


async def _add_gaps(connection: Connection, gaps: Sequence[Gap]) -> None:
    rows = [(gap.writer, gap.flow, gap.since, gap.until, gap.attempts, gap.reason) for gap in gaps]
    await connection.fetch(_ADD_GAPS, *map(list, zip(*rows, strict=True)))
