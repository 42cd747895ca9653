"""Records as rows of the tables, and back. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from eventflow.history.records import (
    Action,
    AttemptRecord,
    FlowMinute,
    Gap,
    MinuteCount,
    MinuteKey,
    Writer,
    from_unix_microseconds,
    storable_text,
    unix_microseconds,
)

Row = Sequence[Any]

ATTEMPT_COLUMNS = AttemptRecord._fields
_ACCEPTED_AT, _STARTED_AT, _SETTLED, _NEXT_AT = (
    ATTEMPT_COLUMNS.index(column) for column in ("accepted_at", "started_at", "settled", "next_at")
)


def row_of_attempt(attempt: AttemptRecord) -> Row:
    """Return the values of `ATTEMPT_COLUMNS`. The texts of the attempt are storable (see `storable_attempts`)."""
    row = list(attempt)
    row[_STARTED_AT] = unix_microseconds(attempt.started_at)
    row[_SETTLED] = int(attempt.settled)  # `sqlite3` searches for an adapter of each bool
    if attempt.accepted_at is not None:
        row[_ACCEPTED_AT] = unix_microseconds(attempt.accepted_at)
    if attempt.next_at is not None:
        row[_NEXT_AT] = unix_microseconds(attempt.next_at)
    return row


def attempt_of(row: Row) -> AttemptRecord:
    """Return the attempt of a row."""
    return AttemptRecord._make(row)._replace(
        accepted_at=_time(row[_ACCEPTED_AT]),
        started_at=from_unix_microseconds(row[_STARTED_AT]),
        settled=bool(row[_SETTLED]),
        next_at=_time(row[_NEXT_AT]),
    )


def row_of_minute(minute: MinuteCount) -> Row:
    """Return the values of `MinuteKey`, then the sums."""
    return (*minute.key, minute.attempts, minute.duration_us)


def minute_of(row: Row) -> MinuteCount:
    """Return the counts of a row."""
    *key, attempts, duration_us = row
    return MinuteCount(key=MinuteKey._make(key), attempts=attempts, duration_us=duration_us)


def row_of_gap(gap: Gap) -> Row:
    """Return the columns of a gap."""
    return gap.writer, gap.flow, unix_microseconds(gap.since), unix_microseconds(gap.until), gap.attempts, gap.reason


def gap_of(row: Row) -> Gap:
    """Return the gap of a row."""
    writer, flow, since, until, attempts, reason = row
    return Gap(
        writer=writer,
        flow=flow,
        since=from_unix_microseconds(since),
        until=from_unix_microseconds(until),
        attempts=attempts,
        reason=reason,
    )


def row_of_flow_minute(minute: FlowMinute) -> Row:
    """Return the columns of a backlog."""
    backlog = minute.accepted, minute.waiting, minute.dead, minute.oldest_s, minute.spooled
    return minute.flow, unix_microseconds(minute.at), *backlog


def flow_minute_of(row: Row) -> FlowMinute:
    """Return the backlog of a row."""
    flow, at, accepted, waiting, dead, oldest_s, spooled = row
    return FlowMinute(
        flow=flow,
        at=from_unix_microseconds(at),
        accepted=accepted,
        waiting=waiting,
        dead=dead,
        oldest_s=oldest_s,
        spooled=spooled,
    )


def writer_of(row: Row) -> Writer:
    """Return the writer of a row."""
    name, batch, started_at, seen_at, ended_at = row
    return Writer(
        name=name,
        batch=batch,
        started_at=from_unix_microseconds(started_at),
        seen_at=from_unix_microseconds(seen_at),
        ended_at=_time(ended_at),
    )


def row_of_action(action: Action) -> Row:
    """Return the columns of an action."""
    texts = (action.by, action.flow, action.kind, action.detail)
    return action.id, unix_microseconds(action.at), *map(storable_text, texts)


def action_of(row: Row) -> Action:
    """Return the action of a row."""
    record_id, at, by, flow, kind, detail = row
    return Action(id=record_id, at=from_unix_microseconds(at), by=by, flow=flow, kind=kind, detail=detail)


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_unix_microseconds(microseconds)
