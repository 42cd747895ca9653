"""Records as rows of the tables, and back. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from eventflow.history.columns import Columns
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


_STORED: Mapping[str, Callable[[Any], int]] = {
    "accepted_at": unix_microseconds,
    "started_at": unix_microseconds,
    "settled": int,  # `sqlite3` searches for an adapter of each bool
    "next_at": unix_microseconds,
}
"""The columns whose values are stored in another form."""


def stored_columns(columns: Columns) -> Columns:
    """Return columns with the values that SQLite stores."""
    return replace(
        columns,
        same={name: _stored(name, value) for name, value in columns.same.items()},
        varying={name: _stored_column(name, column) for name, column in columns.varying.items()},
    )


def _stored(name: str, value: Any) -> Any:
    return _STORED[name](value) if name in _STORED else value


def _stored_column(name: str, column: Sequence[Any]) -> Sequence[Any]:
    if name not in _STORED:
        return column
    stored = _STORED[name]
    return [None if value is None else stored(value) for value in column]


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
