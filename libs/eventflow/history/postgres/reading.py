"""Queries of the history. Each has an index: no query reads all attempts."""

from datetime import datetime

import asyncpg

from eventflow.history.filters import FAILURE_SQL, AttemptFilter, Cursor
from eventflow.history.records import (
    Action,
    AttemptRecord,
    FlowMinute,
    Gap,
    MinuteCount,
    MinuteKey,
    Writer,
    storable_text,
    unix_microseconds,
)
from eventflow.postgres.connection import Connection

_MINUTE_US = 60_000_000
_MINUTE_MAX = 2**31 - 1  # of the column, in the year 6053
_COLUMNS = ", ".join(AttemptRecord._fields)

# The rows of the event are selected before they are sorted. Otherwise PostgreSQL could walk through all attempts in the
# order of their time, because it expects to find some early.
_ATTEMPTS_OF = f"""
    WITH found AS MATERIALIZED (
        SELECT {_COLUMNS} FROM eventflow.attempts WHERE event_id = $1 AND ($2::text IS NULL OR flow = $2)
    )
    SELECT * FROM found ORDER BY started_at, id LIMIT $3
"""  # noqa: S608 - the names of columns are constants

_COUNTS = "SELECT minute, outcome, reason, status, bucket, attempts, duration_us FROM eventflow"
_HOUR = 60

# PostgreSQL adds up `bigint` as decimal numbers, which takes several times longer. A `double precision` is exact up to
# 285 years of microseconds. The rows are not sorted here: PostgreSQL would then sort them before it adds them up.
_SUMS = """
    SELECT minute / $4 * $4 AS first, outcome, reason, status, bucket,
        sum(attempts), sum(duration_us::double precision)::bigint
    FROM ({counts}) AS counts GROUP BY first, outcome, reason, status, bucket
"""
_BY_MINUTES = _SUMS.format(counts=f"{_COUNTS}.minutes WHERE flow = $1 AND minute >= $2 AND minute < $3")
_BY_HOURS = _SUMS.format(
    counts=f"""
        {_COUNTS}.hours WHERE flow = $1 AND minute >= $5 AND minute < $6
        UNION ALL {_COUNTS}.minutes WHERE flow = $1 AND minute >= $2 AND minute < $5
        UNION ALL {_COUNTS}.minutes WHERE flow = $1 AND minute >= $6 AND minute < $3
    """
)

_FLOW_MINUTES = """
    SELECT at, accepted, waiting, dead, oldest_s, spooled
    FROM eventflow.flow_minutes WHERE flow = $1 AND at >= $2 AND at < $3 ORDER BY at
"""

_GAPS = """
    SELECT writer, since, until, attempts, reason
    FROM eventflow.gaps WHERE flow = $1 AND until >= $2 AND since < $3 ORDER BY since, until
"""

_WRITERS = "SELECT name, batch, started_at, seen_at, ended_at FROM eventflow.writers ORDER BY seen_at DESC, name"

_ACTIONS = "SELECT id, at, operator, flow, kind, detail FROM eventflow.actions ORDER BY at DESC, id DESC LIMIT $1"
_ACTIONS_OF_FLOW = """
    SELECT id, at, operator, flow, kind, detail
    FROM eventflow.actions WHERE flow = $2 ORDER BY at DESC, id DESC LIMIT $1
"""


def page_of(selection: AttemptFilter, after: Cursor | None, limit: int) -> tuple[str, list[object]]:
    """Return the query of a page of attempts, and its arguments. Pure."""
    conditions: list[str] = []
    arguments: list[object] = []
    for column, operator, value in selection.conditions:
        arguments.append(value)
        conditions.append(f"{column} {operator} ${len(arguments)}")
    if selection.is_of_failures:
        conditions.append(FAILURE_SQL)
    if after is not None:
        arguments += [after.started_at, after.id]
        time, place = f"${len(arguments) - 1}", f"${len(arguments)}"
        # The first condition adds nothing, but only by it PostgreSQL leaves out the partitions of later days.
        conditions += [f"started_at <= {time}", f"(started_at, id) < ({time}, {place})"]
    arguments.append(limit)
    query = (
        f"SELECT {_COLUMNS} FROM eventflow.attempts WHERE {' AND '.join(conditions)} "  # noqa: S608 - all are constants
        f"ORDER BY started_at DESC, id DESC LIMIT ${len(arguments)}"
    )
    return query, arguments


async def attempts(
    connection: Connection, selection: AttemptFilter, after: Cursor | None, limit: int
) -> list[AttemptRecord]:
    """Return a page of attempts, the newest first."""
    query, arguments = page_of(selection, after, limit)
    return [_attempt(row) for row in await connection.fetch(query, *arguments)]


async def attempts_of(connection: Connection, event_id: str, flow: str | None, limit: int) -> list[AttemptRecord]:
    """Return the attempts of an event, the oldest first."""
    wanted_flow = None if flow is None else storable_text(flow)
    return [_attempt(row) for row in await connection.fetch(_ATTEMPTS_OF, storable_text(event_id), wanted_flow, limit)]


async def minutes(
    connection: Connection, flow: str, since: datetime, until: datetime, step_minutes: int
) -> list[MinuteCount]:
    """Return the counts of a flow by minute, added up by steps: whole hours by the counts of hours."""
    first, end = _minute(since), _minute(until)
    first_hour, end_hour = -(-first // _HOUR) * _HOUR, end // _HOUR * _HOUR
    arguments = [storable_text(flow), first, end, step_minutes]
    if step_minutes % _HOUR or first_hour >= end_hour:
        rows = await connection.fetch(_BY_MINUTES, *arguments)
    else:
        rows = await connection.fetch(_BY_HOURS, *arguments, first_hour, end_hour)
    return [
        MinuteCount(
            key=MinuteKey(minute, flow, outcome, reason, status, bucket), attempts=attempts, duration_us=duration_us
        )
        for minute, outcome, reason, status, bucket, attempts, duration_us in sorted(map(tuple, rows))
    ]


async def flow_minutes(connection: Connection, flow: str, since: datetime, until: datetime) -> list[FlowMinute]:
    """Return the backlog of a flow by minute."""
    rows = await connection.fetch(_FLOW_MINUTES, storable_text(flow), since, until)
    return [FlowMinute(flow=flow, **row) for row in rows]


async def gaps(connection: Connection, flow: str, since: datetime, until: datetime) -> list[Gap]:
    """Return the gaps of a flow that touch a range of time."""
    return [Gap(flow=flow, **row) for row in await connection.fetch(_GAPS, storable_text(flow), since, until)]


async def writers(connection: Connection) -> list[Writer]:
    """Return all writers, the latest first."""
    return [Writer(**row) for row in await connection.fetch(_WRITERS)]


async def actions(connection: Connection, flow: str | None, limit: int) -> list[Action]:
    """Return the latest actions, the newest first."""
    if flow is None:
        rows = await connection.fetch(_ACTIONS, limit)
    else:
        rows = await connection.fetch(_ACTIONS_OF_FLOW, limit, storable_text(flow))
    return [
        Action(
            id=str(row["id"]),
            at=row["at"],
            by=row["operator"],
            flow=row["flow"],
            kind=row["kind"],
            detail=row["detail"],
        )
        for row in rows
    ]


async def last_batch(connection: Connection, writer: str) -> int:
    """Return the number of the last batch of a writer; 0 if there is none."""
    return await connection.fetchval("SELECT batch FROM eventflow.writers WHERE name = $1", writer) or 0


def _attempt(row: asyncpg.Record) -> AttemptRecord:
    record_id, *rest = row
    return AttemptRecord(str(record_id), *rest)


def _minute(moment: datetime) -> int:
    """Return the first minute of Unix time that begins at a moment or after it, as far as the column reaches."""
    return min(-(-unix_microseconds(moment) // _MINUTE_US), _MINUTE_MAX)
