"""Memory and disk space that RabbitMQ needs for each queued event (`python -m benchmarks.queue_cost`).

It fills the live queue of a private broker in two steps, and divides the difference between them by the number of
events. So the part that the broker needs without events is not counted. docs/sizing.md has the figures.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.bench.instruments.messages import frames
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE
from benchmarks.markdown import table
from eventflow.topology import DEFAULT_FLOW, ingest_specs
from sandbox.broker.node import PrivateNode

WAL_MAX_BYTES = 134_217_728
"""As in deploy/rabbitmq/rabbitmq.conf. Up to three times as much is in memory, for any number of events."""

IN_FLIGHT = 1000
SETTLE_S = 60.0
SETTLE_POLL_S = 2.0
STEADY = 0.01
FILL_STEP = 20_000
BLOCK_BYTES = 512
MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Needs of the broker while it holds a number of events.

    Attributes:
        memory_max_bytes: Largest memory while the queue was filled.
    """

    events: int
    memory_bytes: int
    memory_max_bytes: int
    disk_bytes: int


def main(
    body_bytes: Annotated[list[int] | None, typer.Option(help="Size of a body; may be repeated.")] = None,
    events: Annotated[int, typer.Option(min=1000, help="Events of the first step; the second has three times.")] = (
        100_000
    ),
) -> None:
    """Measure the memory and the disk space of each queued event on a private RabbitMQ; about 5 minutes."""
    rows = []
    for size in body_bytes or [330, 4096]:
        with _node() as node:
            empty, first, second = (_filled(node, size, count) for count in (0, events, 3 * events))
        more = second.events - first.events
        largest = max(first.memory_max_bytes, second.memory_max_bytes)
        rows.append(
            [
                f"{size} B",
                f"{(second.disk_bytes - first.disk_bytes) / more:.0f} B",
                f"{(second.memory_bytes - first.memory_bytes) / more:.0f} B",
                *(f"{state.memory_bytes / MB:.0f} MB" for state in (empty, first, second)),
                f"{largest / MB:.0f} MB",
            ]
        )
    counts = (f"{count:,} events".replace(",", " ") for count in (0, events, 3 * events))
    heads = ["body", "disk per event", "memory per event", *(f"memory with {count}" for count in counts), "at most"]
    print(table(heads, rows, justify="lrrrrrr"))


@contextmanager
def _node() -> Iterator[PrivateNode]:
    with TemporaryDirectory(prefix="eventflow-queue-", ignore_cleanup_errors=True) as directory:
        node = PrivateNode(
            Path(directory),
            settings={
                "raft.wal_max_size_bytes": str(WAL_MAX_BYTES),
                "vm_memory_high_watermark.absolute": "4GB",
            },
        )
        node.start()
        try:
            with Wire(node.url) as wire:
                for spec in ingest_specs(DEFAULT_FLOW):
                    wire.declare(spec.name, spec.arguments)
            yield node
        finally:
            node.kill()


def _filled(node: PrivateNode, body_bytes: int, events: int) -> State:
    """Fill the queue up to a number of events, and wait until the needs of the broker no longer change."""
    # Random text, so that no layer below can make it smaller.
    body = random.Random(body_bytes).randbytes(body_bytes // 2 + 1).hex()[:body_bytes].encode()
    largest = 0
    with Wire(node.url) as wire:
        while missing := events - wire.depth(LIVE_QUEUE):
            count = min(missing, FILL_STEP)
            wire.publish(frames("ours", body, queue=LIVE_QUEUE), in_flight=IN_FLIGHT, count=count)
            largest = max(largest, _memory_bytes(node))
    # The write-ahead log is in memory too, until it is full. This writes it out, so that only the queue is measured.
    node.ctl("eval", "ra_log_wal:force_roll_over(ra_log_wal).")
    return _settled(node, events, memory_max_bytes=largest)


def _settled(node: PrivateNode, events: int, *, memory_max_bytes: int) -> State:
    """Return the needs once two readings agree, or after a minute."""
    ends_s = time.monotonic() + SETTLE_S
    memory, disk = 0, 0
    while True:
        time.sleep(SETTLE_POLL_S)
        node.ctl("force_gc")
        earlier = memory, disk
        memory, disk = _memory_bytes(node), _disk_bytes(node)
        is_steady = disk == earlier[1] and abs(memory - earlier[0]) < STEADY * memory
        if is_steady or time.monotonic() > ends_s:
            return State(
                events=events, memory_bytes=memory, memory_max_bytes=max(memory, memory_max_bytes), disk_bytes=disk
            )


def _memory_bytes(node: PrivateNode) -> int:
    return int(node.ctl("eval", "erlang:memory(total)."))


def _disk_bytes(node: PrivateNode) -> int:
    files = (Path(folder) / name for folder, _, names in os.walk(node.directory / "data") for name in names)
    sizes = []
    for file in files:
        with suppress(FileNotFoundError):  # a file of the log that is just being deleted
            sizes.append(file.stat().st_blocks * BLOCK_BYTES)
    return sum(sizes)


if __name__ == "__main__":
    typer.run(main)
