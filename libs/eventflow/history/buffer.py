"""Records that wait to be written: a bounded memory between the observers of all flows and the writer. Pure."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from eventflow.history.records import AttemptRecord, Gap, MinuteCount, MinuteKey

ROWS_MAX: Final = 1000
"""Attempts in one batch. The event loop does nothing else while it encodes a batch, so a larger one delays events."""

RECORD_BYTES: Final = 640
"""Memory of a record without its texts of variable length, and with its part of the containers."""

MINUTE_BYTES: Final = 400
"""Memory of one count by minute."""

MINUTES_AT_ONCE: Final = 500
"""Counts by minute in one batch. There are more of them only after an outage of hours."""

MINUTES_SHARE: Final = 8
MINUTES_MIN: Final = 1000
"""An eighth of the buffer, or more, is for the counts by minute: with the default size, those of a day or more."""

GapReason = Literal["buffer_full", "refused", "internal"]

Dropped = Callable[[str, int], None]
"""Called with a flow and a number of attempts that will not be on record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the history that was taken out to be written in one batch.

    Attributes:
        size_bytes: Memory that counts as used until the part is released.
    """

    attempts: Sequence[AttemptRecord] = ()
    minutes: Sequence[MinuteCount] = ()
    gaps: Sequence[Gap] = ()
    size_bytes: int = 0


@dataclass(slots=True)
class _OpenGap:
    since: datetime
    until: datetime
    attempts: int = 0


@dataclass(slots=True)
class _Rows:
    """The rows of a batch, and their size."""

    attempts: list[AttemptRecord] = field(default_factory=list)
    size_bytes: int = 0


class HistoryBuffer:
    """The records of all flows of a process. A record that finds no room is dropped, and counted in a gap of its flow.

    Attributes:
        on_batch: Called when there are enough rows for a batch.
        before_take: Called before all rows are taken out. It adds attempts that have not become rows yet.
        uncounted: Attempts that are missing in the counts by minute, because there were too many of these.
    """

    def __init__(self, *, writer: str, max_bytes: int, on_dropped: Dropped) -> None:
        """Begin empty.

        Args:
            writer: Name of the process.
            max_bytes: Limit of the memory, counts by minute not included.
            on_dropped: Called with each record that is dropped.
        """
        self.on_batch: Callable[[], None] = lambda: None
        self.before_take: Callable[[], None] = lambda: None
        self.uncounted = 0
        self._writer = writer
        self._max_bytes = max_bytes
        self._minutes_max = max(MINUTES_MIN, max_bytes // MINUTES_SHARE // MINUTE_BYTES)
        self._on_dropped = on_dropped
        self._size_bytes = 0
        self._full: deque[_Rows] = deque()  # each is a batch, so that no row is touched again before it is written
        self._rows = _Rows()
        self._minutes: dict[tuple[int, str, str, str, int, int], list[int]] = {}
        self._gaps: dict[tuple[str, GapReason], _OpenGap] = {}

    @property
    def pending(self) -> int:
        """Number of rows that wait."""
        return len(self._full) * ROWS_MAX + len(self._rows.attempts)

    def add(self, record: AttemptRecord) -> None:
        """Keep a record until it is taken out, or drop it if there is no room."""
        size_bytes = size_of(record)
        if self._size_bytes + size_bytes > self._max_bytes:
            self.drop(record.flow, record.started_at, "buffer_full")
            return
        self._size_bytes += size_bytes
        rows = self._rows
        rows.attempts.append(record)
        rows.size_bytes += size_bytes
        if len(rows.attempts) == ROWS_MAX:
            self._full.append(rows)
            self._rows = _Rows()
            self.on_batch()

    def count(self, key: tuple[int, str, str, str, int, int], duration_us: int) -> None:
        """Count an attempt in its minute; the key has the fields of a `MinuteKey`."""
        counted = self._minutes.get(key)
        if counted is not None:
            counted[0] += 1
            counted[1] += duration_us
        elif len(self._minutes) < self._minutes_max:
            self._minutes[key] = [1, duration_us]
        else:
            self.uncounted += 1

    def drop(self, flow: str, at: datetime, reason: GapReason) -> None:
        """Count an attempt that began `at` this time in a gap of its flow, in place of keeping its record."""
        gap = self._gaps.setdefault((flow, reason), _OpenGap(at, at))
        gap.attempts += 1
        # An attempt is recorded at its end, so the first one to be dropped need not be the first that began.
        gap.since, gap.until = min(gap.since, at), max(gap.until, at)
        self._on_dropped(flow, 1)

    def take_batch(self) -> Part | None:
        """Take out the oldest rows, a whole batch; None if there are not enough. Their memory stays in use."""
        if not self._full:
            return None
        rows = self._full.popleft()
        return Part(attempts=rows.attempts, size_bytes=rows.size_bytes)

    def take(self) -> Part | None:
        """Take out counts and gaps with the rows of one batch at most; None if nothing waits."""
        self.before_take()
        rows = self._full.popleft() if self._full else self._rows
        if rows is self._rows:
            self._rows = _Rows()
        if not (rows.attempts or self._minutes or self._gaps):
            return None
        taken = [self._minutes.popitem() for _ in range(min(len(self._minutes), MINUTES_AT_ONCE))]
        gaps, self._gaps = self._gaps, {}
        return Part(
            attempts=rows.attempts,
            minutes=[MinuteCount(key=MinuteKey(*key), attempts=n, duration_us=us) for key, (n, us) in taken],
            gaps=[self._closed(flow, reason, gap) for (flow, reason), gap in gaps.items()],
            size_bytes=rows.size_bytes,
        )

    def release(self, part: Part) -> None:
        """Free the memory of a part that is written or given up."""
        self._size_bytes -= part.size_bytes

    def _closed(self, flow: str, reason: GapReason, gap: _OpenGap) -> Gap:
        return Gap(
            writer=self._writer, flow=flow, since=gap.since, until=gap.until, attempts=gap.attempts, reason=reason
        )


def size_of(record: AttemptRecord) -> int:
    """Return the memory that a record takes at most, its texts included."""
    size_bytes = RECORD_BYTES + record.event_id.__sizeof__() + record.source.__sizeof__() + record.type.__sizeof__()
    if record.subject is not None:
        size_bytes += record.subject.__sizeof__()
    if record.text is not None:
        size_bytes += record.text.__sizeof__()
    if record.answer is not None:
        size_bytes += len(record.answer)
    return size_bytes
