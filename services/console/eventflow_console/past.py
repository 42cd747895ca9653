"""The past of a flow in equal steps of time: events accepted, and attempts by result. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from eventflow.history.records import LOST, FlowMinute, Gap, MinuteCount

MINUTE: Final = timedelta(minutes=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DEFERRED: Final = frozenset({"defer", "hold"})
FAILED: Final = frozenset({"retry", "dead", LOST})


class Span(Enum):
    """A range of time that a chart can show: its word in an address, its label, its steps, and minutes in a step."""

    HOUR = ("1h", "1 h", 60, 1)
    DAY = ("24h", "24 h", 72, 20)
    WEEK = ("7d", "7 d", 56, 180)

    def __init__(self, word: str, label: str, steps: int, step_minutes: int) -> None:
        self.word, self.label, self.steps, self.step_minutes = word, label, steps, step_minutes

    @classmethod
    def of(cls, word: str | None) -> "Span":
        """Return the range with this word; an hour for any other word."""
        return next((span for span in cls if span.word == word), cls.HOUR)

    def until(self, now: datetime) -> datetime:
        """Return the end of the present minute."""
        return now.replace(second=0, microsecond=0) + MINUTE

    def since(self, now: datetime) -> datetime:
        """Return the start of the first step. Steps begin at the same times as those of a store."""
        step = self.step_minutes * MINUTE
        ends = _EPOCH + -(-(self.until(now) - _EPOCH) // step) * step
        return ends - self.steps * step


@dataclass(slots=True, kw_only=True)
class Step:
    """The attempts and events of one step of a chart.

    Attributes:
        minutes: Minutes of the step that have begun.
        deferred: Attempts that did not count, because the target was down or asked to wait.
        missing: Attempts that are not on record.
        is_partial: Whether a gap touches the step.
        is_open: Whether the step is not over, so that its counts still grow.
    """

    start: datetime
    minutes: int
    accepted: int | None = None
    delivered: int | None = None
    failed: int | None = None
    deferred: int | None = None
    missing: int = 0
    is_partial: bool = False
    is_open: bool = False

    def per_minute(self, count: int | None) -> float | None:
        """Return the average of a count in a minute."""
        return None if count is None else count / self.minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The past of a flow, as services and processors have recorded it.

    Attributes:
        counts: The counts of attempts; None if no store has them.
    """

    counts: Sequence[MinuteCount] | None = None
    backlog: Sequence[FlowMinute] = ()
    gaps: Sequence[Gap] = ()

    @property
    def begins_at(self) -> datetime | None:
        """Time of its oldest value. Before it nothing is known, and after it no count means that nothing happened."""
        counted = (_EPOCH + count.key.minute * MINUTE for count in self.counts or ())
        return min((*counted, *(minute.at for minute in self.backlog)), default=None)


def steps_of(past: Past, span: Span, now: datetime) -> Sequence[Step]:
    """Return the steps of a range of time that ends now."""
    grid = _Grid(span, now)
    for gap in past.gaps:
        grid.mark(gap)
    if past.counts is not None:
        grid.begin_counts(past.begins_at)
        for count in past.counts:
            if (step := grid.at(_EPOCH + count.key.minute * MINUTE)) is not None:
                _add(step, count)
    for minute in past.backlog:
        if minute.accepted is not None and (step := grid.at(minute.at)) is not None:
            step.accepted = (step.accepted or 0) + minute.accepted
    return grid.steps


class _Grid:
    """The steps of a range, found by their time."""

    def __init__(self, span: Span, now: datetime) -> None:
        self._first, self._until, self._length = span.since(now), span.until(now), span.step_minutes * MINUTE
        starts = (self._first + self._length * number for number in range(span.steps))
        self.steps = [
            Step(
                start=start,
                minutes=max(1, (min(self._until, start + self._length) - start) // MINUTE),
                is_open=start + self._length > now,
            )
            for start in starts
        ]

    def at(self, moment: datetime) -> Step | None:
        """Return the step of a time; None if it is out of the range."""
        number = (moment - self._first) // self._length
        return self.steps[number] if 0 <= number < len(self.steps) and moment < self._until else None

    def mark(self, gap: Gap) -> None:
        """Mark the steps that a gap touches.

        All its attempts are counted at its start, because it is unknown how they are spread over its time.
        """
        for step in self.steps:
            step.is_partial |= gap.since < step.start + self._length and gap.until >= step.start
        if (beginning := self.at(max(gap.since, self._first))) is not None:
            beginning.missing += gap.attempts

    def begin_counts(self, begins_at: datetime | None) -> None:
        """Set the counts of all recorded steps to 0. Before the record, and in a gap, no count means unknown."""
        for step in self.steps:
            if begins_at is not None and step.start + self._length > begins_at and not step.is_partial:
                step.delivered = step.failed = step.deferred = 0


def _add(step: Step, count: MinuteCount) -> None:
    if count.key.outcome in DEFERRED:
        step.deferred = (step.deferred or 0) + count.attempts
    elif count.key.outcome in FAILED:
        step.failed = (step.failed or 0) + count.attempts
    else:
        step.delivered = (step.delivered or 0) + count.attempts
