"""Statements that delete records. Synchronous."""

import sqlite3
from datetime import datetime

from eventflow.history.records import storable_text, unix_microseconds
from eventflow.history.sqlite.reading import EVENT_PIECES, first_minute, flows

PIECE_ROWS = 500
"""Rows that one transaction deletes, so that a writer waits for it some milliseconds only."""

# Up to the time of the last row of the piece: tables WITHOUT ROWID have no number by which rows could be deleted, and
# SQLite is usually built without DELETE ... LIMIT.
_DELETE_PIECE = """
DELETE FROM {table} WHERE flow = :flow AND {time} <= coalesce(
    (SELECT {time} FROM {table} WHERE flow = :flow AND {time} < :before ORDER BY {time} LIMIT 1 OFFSET :rows - 1),
    :before - 1
)
"""

_FORGET = f"""
DELETE FROM attempts WHERE n IN (
    {EVENT_PIECES}
    SELECT n FROM pieces CROSS JOIN attempts INDEXED BY attempts_by_event WHERE n >> 13 = piece AND event_id = ?
)
"""  # noqa: S608 - no value is a part of it


def delete_piece(connection: sqlite3.Connection, *, attempts_before: datetime, minutes_before: datetime) -> bool:
    """Delete some of the records that are too old; return False if none is left.

    Gaps, actions and writers are kept as long as the counts by minute, because they explain these.
    """
    oldest_us = unix_microseconds(minutes_before)
    for table, time, before in (
        ("attempts", "started_at", unix_microseconds(attempts_before)),
        ("minutes", "minute", first_minute(minutes_before)),
        ("hours", "minute", first_minute(minutes_before)),
        ("flow_minutes", "at", oldest_us),
        ("gaps", "until", oldest_us),
    ):
        statement = _DELETE_PIECE.format(table=table, time=time)
        for flow in flows(connection, table):
            values = {"flow": flow, "before": before, "rows": PIECE_ROWS}
            if connection.execute(statement, values).rowcount:
                return True
    connection.execute("DELETE FROM actions WHERE at < ?", (oldest_us,))
    connection.execute("DELETE FROM writers WHERE seen_at < ?", (oldest_us,))
    return False


def forget(connection: sqlite3.Connection, event_id: str) -> int:
    """Delete the attempts of an event; return their number."""
    connection.execute("PRAGMA secure_delete=ON").fetchall()  # writes zeros over them
    try:
        return connection.execute(_FORGET, (storable_text(event_id),)).rowcount
    finally:
        connection.execute("PRAGMA secure_delete=OFF").fetchall()
