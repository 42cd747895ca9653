"""The work of a spool file's thread as values: the event loop requests it, and the thread answers with a report."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from eventflow.spool.store import Record, Row, SpoolError, Usage

BATCH_MAX_BYTES = 8 * 1024 * 1024
"""Size of the events in one transaction; a larger event has a transaction of its own."""


class Unresolved(Protocol):
    """A publish that the broker may still confirm or refuse: `eventflow.amqp.publish_channel.Publication`."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed it."""
        ...

    def on_resolved(self, callback: Callable[[], None]) -> None:
        """Call back once, as soon as it is no longer unresolved."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Put:
    """An event to store; `done` is set on the event loop as soon as the event is on disk, or is refused."""

    record: Record
    unresolved: Unresolved | None
    done: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """A request for the next rows after the row number `after`."""

    after: int
    done: "asyncio.Future[list[Row]]"


@dataclass(slots=True, kw_only=True)
class Work:
    """Work that is requested and not done yet."""

    puts: list[Put] = field(default_factory=list)
    deletes: set[int] = field(default_factory=set)
    asides: set[int] = field(default_factory=set)
    readmits: bool = False
    reads: list[Read] = field(default_factory=list)
    closing: bool = False

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes or self.asides or self.readmits or self.reads or self.closing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of some work, and the state of the file after it."""

    stored: Sequence[tuple[Put, int]]
    refused: Sequence[tuple[Put, SpoolError]]
    deleted: set[int]
    set_aside: set[int]
    read: Sequence[tuple[Read, list[Row]]]
    usage: Usage
    is_open: bool
    is_full: bool
    is_failing: bool


class Inbox:
    """Collects work for the thread; all work that waits when the thread is free becomes one transaction."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending = Work()

    def add(
        self,
        *,
        puts: Sequence[Put] = (),
        deletes: set[int] | None = None,
        asides: set[int] | None = None,
        readmits: bool = False,
        reads: Sequence[Read] = (),
        closing: bool = False,
    ) -> None:
        """Request work."""
        with self._changed:
            self._pending.puts += puts
            self._pending.deletes |= deletes or set()
            self._pending.asides |= asides or set()
            self._pending.readmits |= readmits
            self._pending.reads += reads
            self._pending.closing |= closing
            self._changed.notify()

    def withdraw(self, put: Put) -> None:
        """Remove a put that has timed out, unless the thread has taken it already."""
        with self._changed, suppress(ValueError):
            self._pending.puts.remove(put)

    def take(self, *, timeout_s: float) -> Work:
        """Wait for work and take it, with no more puts than fit into one transaction; after `timeout_s` it is empty."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._pending), timeout_s)
            taken, self._pending = self._pending, Work()
            count = _leading(taken.puts)
            if count < len(taken.puts):
                # Closing waits for the remaining puts, because they were requested before it.
                self._pending = Work(puts=taken.puts[count:], closing=taken.closing)
                taken.puts, taken.closing = taken.puts[:count], False
            return taken


def _leading(puts: Sequence[Put]) -> int:
    """Count the puts for one transaction: at least one, and otherwise no more than BATCH_MAX_BYTES."""
    size_bytes = 0
    for count, put in enumerate(puts):
        size_bytes += put.record.size_bytes
        if count and size_bytes > BATCH_MAX_BYTES:
            return count
    return len(puts)
