"""Fills a store with a week of records, and measures the cost of writing."""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from benchmarks.history.week import WEEK, minutes_of, week
from eventflow.event import new_event_id
from eventflow.history.records import AttemptRecord, Batch
from eventflow.history.store import HistoryStore

FILL_ATTEMPTS = 2000
"""Attempts in a batch. A processor writes fewer at once; these are more, to be fast."""

BATCH_ATTEMPTS = 480
"""The batches of a busy processor."""

MEASURED_ATTEMPTS = 100 * BATCH_ATTEMPTS
RATE_PER_S = 1000


async def fill(store: HistoryStore, *, attempts: int, until: datetime) -> None:
    """Write a week of attempts, and their counts by minute."""
    for batch in _batches(week(attempts, until=until), size=FILL_ATTEMPTS):
        await store.append(batch)


async def cost_us(store: HistoryStore, *, since: datetime) -> float:
    """Write the attempts of a busy processor; return the microseconds of this process for each of them.

    Args:
        store: Any store; one with many records is more like a real one.
        since: Start of the first of them.
    """
    attempts = week(int(WEEK.total_seconds()) * RATE_PER_S, until=since + WEEK)
    batches = list(_batches(islice(attempts, MEASURED_ATTEMPTS), size=BATCH_ATTEMPTS))
    used_s = time.process_time()
    for batch in batches:
        await store.append(batch)
    return (time.process_time() - used_s) / MEASURED_ATTEMPTS * 1e6


def _batches(attempts: Iterable[AttemptRecord], *, size: int) -> Iterator[Batch]:
    writer = f"benchmark-{new_event_id()}"
    iterator = iter(attempts)
    number = 0
    while part := list(islice(iterator, size)):
        number += 1
        yield Batch(writer=writer, number=number, attempts=part, minutes=minutes_of(part))
