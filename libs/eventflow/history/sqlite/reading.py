"""Statements that read records. Each uses an index, which most of them name, and reads no whole table. Synchronous."""

import sqlite3
from datetime import datetime
from typing import Any

from eventflow.history.filters import FAILURE_SQL, AttemptFilter, Cursor
from eventflow.history.records import (
    Action,
    AttemptRecord,
    FlowMinute,
    Gap,
    MinuteCount,
    Writer,
    from_unix_microseconds,
    storable_text,
    unix_microseconds,
)
from eventflow.history.sqlite.rows import (
    ATTEMPT_COLUMNS,
    action_of,
    attempt_of,
    flow_minute_of,
    gap_of,
    minute_of,
    writer_of,
)

_COLUMNS = ", ".join(ATTEMPT_COLUMNS)

EVENT_PIECES = """
WITH RECURSIVE pieces (piece) AS (
    SELECT max(n) >> 13 FROM attempts
    UNION ALL
    SELECT piece - 1 FROM pieces WHERE piece > (SELECT min(n) >> 13 FROM attempts)
)
"""
"""The pieces of the index `attempts_by_event`, for the beginning of a statement."""

_OF_EVENT = f"""
{EVENT_PIECES}
SELECT {_COLUMNS} FROM pieces CROSS JOIN attempts INDEXED BY attempts_by_event
WHERE n >> 13 = piece AND event_id = ? AND (? IS NULL OR flow = ?)
ORDER BY started_at, id LIMIT ?
"""  # noqa: S608 - no value is a part of it

HOUR_MINUTES = 60

_COUNTS = "SELECT minute, outcome, reason, status, bucket, attempts, duration_us FROM"
_SUMS = """
SELECT minute / :step * :step AS first, :flow, outcome, reason, status, bucket, sum(attempts), sum(duration_us)
FROM ({counts}) GROUP BY first, outcome, reason, status, bucket ORDER BY first, outcome, reason, status, bucket
"""
_BY_MINUTES = _SUMS.format(counts=f"{_COUNTS} minutes WHERE flow = :flow AND minute >= :since AND minute < :until")
_BY_HOURS = _SUMS.format(
    counts=f"""
    {_COUNTS} hours WHERE flow = :flow AND minute >= :first_hour AND minute < :end_hour
    UNION ALL {_COUNTS} minutes WHERE flow = :flow AND minute >= :since AND minute < :first_hour
    UNION ALL {_COUNTS} minutes WHERE flow = :flow AND minute >= :end_hour AND minute < :until
    """
)

_FLOW_MINUTES = """
SELECT flow, at, accepted, waiting, dead, oldest_s, spooled FROM flow_minutes
WHERE flow = ? AND at >= ? AND at < ? ORDER BY at
"""

_GAPS = """
SELECT writer, flow, since, until, attempts, reason FROM gaps INDEXED BY gaps_by_end
WHERE flow = ? AND until >= ? AND since < ? ORDER BY since, until
"""

_WRITERS = "SELECT name, batch, started_at, seen_at, ended_at FROM writers ORDER BY seen_at DESC, name"

_ACTIONS = "SELECT * FROM actions INDEXED BY actions_by_time ORDER BY at DESC, id DESC LIMIT ?"
_ACTIONS_OF_FLOW = """
SELECT * FROM actions INDEXED BY actions_by_flow WHERE flow = ? ORDER BY at DESC, id DESC LIMIT ?
"""

_FLOWS = """
WITH RECURSIVE found (flow) AS (
    SELECT min(flow) FROM {table}
    UNION ALL
    SELECT (SELECT min(flow) FROM {table} WHERE flow > found.flow) FROM found WHERE flow IS NOT NULL
)
SELECT flow FROM found WHERE flow IS NOT NULL
"""
"""All flows of a table; each costs one search in an index."""


def attempts_of(connection: sqlite3.Connection, event_id: str, *, flow: str | None, limit: int) -> list[AttemptRecord]:
    """Return the attempts of an event, the oldest first."""
    wanted_flow = None if flow is None else storable_text(flow)
    rows = connection.execute(_OF_EVENT, (storable_text(event_id), wanted_flow, wanted_flow, limit))
    return [attempt_of(row) for row in rows]


def attempts(
    connection: sqlite3.Connection, selection: AttemptFilter, *, after: Cursor | None, limit: int
) -> list[AttemptRecord]:
    """Return a page of attempts, the newest first."""
    statement, values = page_statement(selection, after=after, limit=limit)
    return [attempt_of(row) for row in connection.execute(statement, values)]


def page_statement(selection: AttemptFilter, *, after: Cursor | None, limit: int) -> tuple[str, list[Any]]:
    """Return the statement of a page of attempts, and its values."""
    conditions = [f"{column} {operator} ?" for column, operator, _ in selection.conditions]
    values: list[Any] = [_plain(value) for _, _, value in selection.conditions]
    if selection.is_of_failures:
        conditions.append(FAILURE_SQL)
    if after is not None:
        conditions.append("(started_at, id) < (?, ?)")
        values += [unix_microseconds(after.started_at), after.id]
    index = "failures_by_time" if selection.is_of_failures else "attempts_by_time"
    statement = (
        f"SELECT {_COLUMNS} FROM attempts INDEXED BY {index} "  # noqa: S608 - no value is a part of it
        f"WHERE {' AND '.join(conditions)} ORDER BY started_at DESC, id DESC LIMIT ?"
    )
    return statement, [*values, limit]


def minutes(
    connection: sqlite3.Connection, flow: str, *, since: datetime, until: datetime, step_minutes: int
) -> list[MinuteCount]:
    """Return the sums of a flow for each step: of whole hours by the counts of hours."""
    first, end = first_minute(since), first_minute(until)
    first_hour, end_hour = -(-first // HOUR_MINUTES) * HOUR_MINUTES, end // HOUR_MINUTES * HOUR_MINUTES
    is_by_hours = step_minutes % HOUR_MINUTES == 0 and first_hour < end_hour
    values = {"flow": storable_text(flow), "since": first, "until": end, "step": step_minutes}
    if is_by_hours:
        values |= {"first_hour": first_hour, "end_hour": end_hour}
    return [minute_of(row) for row in connection.execute(_BY_HOURS if is_by_hours else _BY_MINUTES, values)]


def flow_minutes(connection: sqlite3.Connection, flow: str, *, since: datetime, until: datetime) -> list[FlowMinute]:
    """Return the backlog of a flow by minute."""
    values = (storable_text(flow), unix_microseconds(since), unix_microseconds(until))
    return [flow_minute_of(row) for row in connection.execute(_FLOW_MINUTES, values)]


def gaps(connection: sqlite3.Connection, flow: str, *, since: datetime, until: datetime) -> list[Gap]:
    """Return the gaps of a flow that touch a range."""
    values = (storable_text(flow), unix_microseconds(since), unix_microseconds(until))
    return [gap_of(row) for row in connection.execute(_GAPS, values)]


def writers(connection: sqlite3.Connection) -> list[Writer]:
    """Return all writers, the latest first. They are few: one for each start of a processor."""
    return [writer_of(row) for row in connection.execute(_WRITERS)]


def actions(connection: sqlite3.Connection, *, flow: str | None, limit: int) -> list[Action]:
    """Return the latest actions of operators, the newest first."""
    if flow is None:
        rows = connection.execute(_ACTIONS, (limit,))
    else:
        rows = connection.execute(_ACTIONS_OF_FLOW, (storable_text(flow), limit))
    return [action_of(row) for row in rows]


def flows(connection: sqlite3.Connection, table: str) -> list[str]:
    """Return the flows with rows in a table."""
    return [flow for [flow] in connection.execute(_FLOWS.format(table=table))]


def oldest(connection: sqlite3.Connection) -> datetime | None:
    """Return the start of the oldest attempt; None if there is none."""
    first = "SELECT min(started_at) FROM attempts INDEXED BY attempts_by_time WHERE flow = ?"
    starts = [connection.execute(first, (flow,)).fetchone()[0] for flow in flows(connection, "attempts")]
    return from_unix_microseconds(min(starts)) if starts else None


def first_minute(moment: datetime) -> int:
    """Return the first minute that does not start before a time."""
    return -(-unix_microseconds(moment) // 60_000_000)


def _plain(value: str | int | datetime) -> str | int:
    return unix_microseconds(value) if isinstance(value, datetime) else value
