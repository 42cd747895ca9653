"""Fills a store with a week of records."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from benchmarks.history.week import minutes_of, week
from eventflow.history.records import AttemptRecord, Batch
from eventflow.history.store import HistoryStore

BATCH_ATTEMPTS = 2000
"""More than a processor writes at once, to be fast."""


async def fill(store: HistoryStore, *, attempts: int, until: datetime) -> None:
    """Write a week of attempts, and their counts by minute."""
    for number, part in enumerate(_parts(week(attempts, until=until)), start=1):
        await store.append(Batch(writer="benchmark", number=number, attempts=part, minutes=minutes_of(part)))


def _parts(attempts: Iterable[AttemptRecord]) -> Iterator[list[AttemptRecord]]:
    iterator = iter(attempts)
    while part := list(islice(iterator, BATCH_ATTEMPTS)):
        yield part
