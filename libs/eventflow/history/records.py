"""The records: values that the services write into a store, and read from it. Pure.

Times are aware and in UTC. Nothing here holds the body of an event, a URL, or a header of a request.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

LOST = "lost"
"""Outcome of an attempt whose delivery was not settled: the connection to the broker was lost, or the processor ended
the turn. The broker delivers the event again, so the target may get it twice."""

OUTCOMES = ("delivered", "retry", "defer", "hold", "dead", LOST)
"""Outcomes on record: those of deliveries, and `lost`."""

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the buckets by which minutes keep durations, as in `eventflow_attempt_seconds`; one more has no
bound."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class AttemptRecord(NamedTuple):
    """One attempt. Its fields are the columns of the table `attempts`, in their order.

    It is a tuple, because each attempt makes one, and a store copies it without another step.

    Attributes:
        id: A UUID of version 7.
        accepted_at: Time at which the collector accepted the event; None for a message of another publisher.
        started_at: Start of the request.
        duration_us: Time from that start to the answer, in microseconds.
        attempt: Number of the attempt, from 1.
        outcome: `delivered`, `retry`, `defer`, `hold`, `dead` or `lost`.
        settled: False if the delivery was lost, so that the event is delivered again.
        reason: Kind of the failure, such as `server_error`; of a success nearly always None, or `duplicate`.
        detail: Cause of a failure in the network, such as `no_listener`.
        text: The error in words, if there was no answer.
        status: HTTP status; None if there was none.
        next_at: Earliest time of the next attempt; None if there is none, or if it is not known.
        answer: Beginning of the target's answer, without our secrets; None if it is not kept.
        answer_type: Its content type.
        answer_bytes: Its length, or the length of the part that was read.
        trace_id: 32 hexadecimal digits; None if the trace is not recorded.
        writer: Name of the process that made the attempt.
    """

    id: str
    flow: str
    event_id: str
    type: str
    source: str
    subject: str | None
    accepted_at: datetime | None
    started_at: datetime
    duration_us: int
    attempt: int
    lane: str
    outcome: str
    settled: bool
    reason: str | None
    detail: str | None
    text: str | None
    status: int | None
    next_at: datetime | None
    answer: bytes | None
    answer_type: str | None
    answer_bytes: int | None
    trace_id: str | None
    writer: str


_TEXTS_FROM_OUTSIDE = attrgetter("event_id", "type", "source", "subject", "text", "answer_type")


def is_failure(record: AttemptRecord) -> bool:
    """Whether an attempt was anything but a settled success."""
    return record.outcome != "delivered" or not record.settled


def storable_attempts(attempts: Sequence[AttemptRecord]) -> Sequence[AttemptRecord]:
    """Return attempts with texts that every store accepts (see `storable_text`): usually the same ones."""
    texts = "".join(filter(None, chain.from_iterable(map(_TEXTS_FROM_OUTSIDE, attempts))))
    if _is_plain(texts):  # a test of all at once, because there are many
        return attempts
    return [_storable(attempt) for attempt in attempts]


def _storable(attempt: AttemptRecord) -> AttemptRecord:
    return AttemptRecord._make(storable_text(value) if isinstance(value, str) else value for value in attempt)


def storable_text(text: str) -> str:
    """Return a text with U+FFFD in place of characters that PostgreSQL cannot store: NUL, and surrogates."""
    return text if _is_plain(text) else _UNSTORABLE.sub("\ufffd", text)


def _is_plain(text: str) -> bool:
    """Whether a text needs no search for characters that cannot be stored. Nearly all texts are plain."""
    return text.isascii() and "\0" not in text


def unix_microseconds(moment: datetime) -> int:
    """Return an aware time in whole microseconds of Unix time, without the rounding of `timestamp`."""
    return (moment - _EPOCH) // _MICROSECOND


def from_unix_microseconds(microseconds: int) -> datetime:
    """Return the time, in UTC.

    Raises:
        OverflowError: Its year is not from 1 to 9999.
    """
    return _EPOCH + timedelta(microseconds=microseconds)


class MinuteKey(NamedTuple):
    """The attempts that one row of `minutes` counts: those of one minute with the same result and a similar duration.

    Attributes:
        minute: The minute, in minutes of Unix time.
        reason: As in an attempt; empty for None.
        status: 0 if there was no status.
        bucket: Index into `DURATION_BUCKETS_S`; its length for a longer duration.
    """

    minute: int
    flow: str
    outcome: str
    reason: str
    status: int
    bucket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteCount:
    """One row of `minutes`, or a part that a writer adds to it."""

    key: MinuteKey
    attempts: int
    duration_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Attempts that were made and are not on record.

    Attributes:
        since: Start of the first of them.
        until: Start of the last of them.
        reason: `buffer_full`, if the store was away or too slow, `refused`, if the store accepts no such row, or
            `internal`, if an error in the processor prevented the record.
    """

    writer: str
    flow: str
    since: datetime
    until: datetime
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A part of the history that a store takes in one transaction.

    Attributes:
        writer: Name of the process that writes it.
        number: Number of the batch, from 1 for each writer. The store keeps it in the same transaction, so that a
            writer can find out after a reconnect whether the batch was committed.
        attempts: At most `ROWS_MAX` of the buffer.
    """

    writer: str
    number: int
    attempts: Sequence[AttemptRecord] = ()
    minutes: Sequence[MinuteCount] = ()
    gaps: Sequence[Gap] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A process that writes or wrote.

    Attributes:
        batch: Number of its last batch.
        seen_at: Time of that batch, or of its last sign of life.
        ended_at: Time at which it ended in order; None if it runs, or was killed.
    """

    name: str
    batch: int
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMinute:
    """The backlog of a flow in one minute; None is unknown.

    Attributes:
        at: Start of the minute.
        accepted: Events that the collectors accepted in it.
        waiting: Events that waited in the queues of the flow at its end.
        dead: Dead letters at its end.
        oldest_s: Age of the oldest event that waited.
        spooled: Events in the spools of the collectors.
    """

    flow: str
    at: datetime
    accepted: int | None = None
    waiting: int | None = None
    dead: int | None = None
    oldest_s: float | None = None
    spooled: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action of an operator.

    Attributes:
        id: A UUID of version 7.
        by: The operator, as the command or the console knows the name.
        kind: `pause`, `resume`, `rate`, `replay`, `export`, `purge`, `forget`, `prune`.
        detail: More about it, for people: `100/s`, `422s of the last hour: 37 events`.
    """

    id: str
    at: datetime
    by: str
    flow: str
    kind: str
    detail: str = ""
