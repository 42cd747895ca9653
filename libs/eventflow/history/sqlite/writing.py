"""Statements that write records. Each function is a part of one transaction. Synchronous."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from eventflow.history.columns import columns_of
from eventflow.history.records import Action, AttemptRecord, Batch, FlowMinute, storable_attempts, unix_microseconds
from eventflow.history.sqlite.rows import (
    row_of_action,
    row_of_flow_minute,
    row_of_gap,
    row_of_minute,
    stored_columns,
)

ROWS_AT_ONCE = (240, 16, 1) if sqlite3.sqlite_version_info >= (3, 32) else (32, 1)  # 999 values in older versions
"""Attempts that one execution of a statement inserts: as many as possible. Python's lock (GIL) is released and taken
again for each execution, and beside a busy event loop the thread waits for it each time."""


@lru_cache(maxsize=64)
def _insertion(same: tuple[str, ...], varying: tuple[str, ...], rows: int) -> str:
    """Return the statement that inserts some attempts. Its first values are those of the columns with one value."""
    # `?` is the parameter after the highest one so far, so the text of all rows is the same.
    row = ", ".join([*(f"?{number}" for number in range(1, len(same) + 1)), *("?" * len(varying))])
    columns, values = ", ".join((*same, *varying)), ", ".join([f"({row})"] * rows)
    # OR ROLLBACK: a row that is refused ends the transaction. By default it would undo only its statement. For this,
    # SQLite copies each page before a statement with several rows changes it, which takes 4 us for an attempt.
    return f"INSERT OR ROLLBACK INTO attempts ({columns}) VALUES {values}"  # noqa: S608 - no value is a part of it


_ADD_COUNTS = """
INSERT INTO {table} (minute, flow, outcome, reason, status, bucket, attempts, duration_us)
VALUES (? / {step} * {step}, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (flow, minute, outcome, reason, status, bucket) DO UPDATE SET
    attempts = attempts + excluded.attempts,
    duration_us = duration_us + excluded.duration_us
"""

_ADD_TO_MINUTES, _ADD_TO_HOURS = (
    _ADD_COUNTS.format(table=table, step=step) for table, step in (("minutes", 1), ("hours", 60))
)

_PUT_WRITER = """
INSERT INTO writers (name, batch, started_at, seen_at) VALUES (:name, :batch, :now, :now)
ON CONFLICT (name) DO UPDATE SET batch = excluded.batch, seen_at = excluded.seen_at, ended_at = NULL
"""

_PUT_FLOW_MINUTE = """
INSERT INTO flow_minutes (flow, at, accepted, waiting, dead, oldest_s, spooled) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (flow, at) DO UPDATE SET
    accepted = coalesce(excluded.accepted, accepted),
    waiting = coalesce(excluded.waiting, waiting),
    dead = coalesce(excluded.dead, dead),
    oldest_s = coalesce(excluded.oldest_s, oldest_s),
    spooled = coalesce(excluded.spooled, spooled)
"""


def last_batch(connection: sqlite3.Connection, writer: str) -> int:
    """Return the number of the last batch of a writer; 0 if there is none."""
    row = connection.execute("SELECT batch FROM writers WHERE name = ?", (writer,)).fetchone()
    return 0 if row is None else int(row[0])


def appending(batch: Batch, *, now: datetime) -> Callable[[sqlite3.Connection], None]:
    """Prepare a batch; return the part of a transaction that writes it, if it is not on record.

    The rows are prepared here, on the event loop. On the thread of the file, this code would compete with the loop for
    Python's lock, and each callback of the loop would wait for it.
    """
    insertions = list(_insertions_of(storable_attempts(batch.attempts))) if batch.attempts else []
    counts = [row_of_minute(minute) for minute in batch.minutes]

    def append(connection: sqlite3.Connection) -> None:
        if batch.number <= last_batch(connection, batch.writer):
            return
        for statement, values in insertions:
            connection.execute(statement, values)
        connection.executemany(_ADD_TO_MINUTES, counts)
        connection.executemany(_ADD_TO_HOURS, counts)
        connection.executemany("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?)", map(row_of_gap, batch.gaps))
        connection.execute(_PUT_WRITER, {"name": batch.writer, "batch": batch.number, "now": unix_microseconds(now)})

    return append


def end_writer(connection: sqlite3.Connection, writer: str, *, now: datetime) -> None:
    """Note that a writer has ended in order."""
    moment = unix_microseconds(now)
    connection.execute("UPDATE writers SET seen_at = ?, ended_at = ? WHERE name = ?", (moment, moment, writer))


def put_flow_minutes(connection: sqlite3.Connection, minutes: Collection[FlowMinute]) -> None:
    """Write the backlogs of flows. Unknown values replace no known ones."""
    connection.executemany(_PUT_FLOW_MINUTE, map(row_of_flow_minute, minutes))


def put_action(connection: sqlite3.Connection, action: Action) -> None:
    """Put an action on record."""
    connection.execute("INSERT INTO actions VALUES (?, ?, ?, ?, ?, ?)", row_of_action(action))


def _insertions_of(attempts: Sequence[AttemptRecord]) -> Iterator[tuple[str, list[Any]]]:
    """Return statements with their values, each for as many attempts as possible."""
    columns = stored_columns(columns_of(attempts))
    same = list(columns.same.values())
    varying = list(zip(*columns.varying.values(), strict=True))
    start = 0
    for rows in ROWS_AT_ONCE:
        statement = _insertion(tuple(columns.same), tuple(columns.varying), rows)
        while columns.rows - start >= rows:
            yield statement, same + list(chain.from_iterable(varying[start : start + rows]))
            start += rows
