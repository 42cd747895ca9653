"""Records and files of a spool, as tests make and damage them."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from eventflow.message import Message, new_message_id
from eventflow.spool.store import Record, Store

ACCEPTED_AT = datetime(2025, 7, 13, 21, 34, 44, 573000, tzinfo=UTC)


def record(
    body: bytes = b"{}", *, event_id: str = "1", queue: str = "q", accepted_at: datetime = ACCEPTED_AT
) -> Record:
    message = Message(body=body, headers={"cloudEvents:id": event_id}, message_id=new_message_id())
    return Record(queue=queue, message=message, accepted_at=accepted_at)


def flip_a_bit(path: Path) -> None:
    """Damage the body of the first row as a failing disk would: the database itself stays well-formed."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET body = x'00' WHERE seq = 1")
    connection.close()


def write(path: Path, ids: Iterable[str], *, queue: str) -> None:
    """Write a file with an event for each id, as a collector that has ended leaves it."""
    store = Store(path)
    store.apply([record(event_id=event_id, queue=queue) for event_id in ids])
    store.close()


def ids_in_file(path: Path) -> list[str]:
    """Read the ids in a file that no process uses."""
    with closing(sqlite3.connect(path)) as connection:
        return [json.loads(text)["cloudEvents:id"] for (text,) in connection.execute("SELECT headers FROM events")]


def ids_in_directory(directory: Path) -> list[str]:
    """Read the ids in all files of a directory that no process uses."""
    return [event_id for path in sorted(directory.glob("*.sqlite3")) for event_id in ids_in_file(path)]
