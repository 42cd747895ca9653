"""A process that writes batches into an SQLite history: `python -m tests.support.history_writer PATH WRITER BATCHES`.

It writes the number of each batch that is on record to standard output.
"""

import asyncio
import sys
from pathlib import Path

from eventflow.errors import HistoryUnavailableError
from eventflow.history.records import Batch
from eventflow.history.sqlite.store import SqliteStore
from tests.support.history import attempt

BATCH_ATTEMPTS = 20


async def main(path: Path, writer: str, batches: int) -> None:
    store = SqliteStore(path)
    for number in range(1, batches + 1):
        batch = Batch(writer=writer, number=number, attempts=[attempt(event_id=writer) for _ in range(BATCH_ATTEMPTS)])
        while True:
            try:
                await store.append(batch)
                break
            except HistoryUnavailableError as error:
                sys.stderr.write(f"{error}\n")
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
