"""Records of all attempts for the history: this makes them, and `eventflow.history` writes them."""

import secrets
import time
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Final, NamedTuple, TypeAlias, assert_never

from typing_extensions import override

from eventflow.errors import EventFlowError
from eventflow.event import utc_now
from eventflow.history.buffer import HistoryBuffer
from eventflow.history.records import DURATION_BUCKETS_S, LOST, AttemptRecord
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Retry
from eventflow.topology import Lane
from eventflow_processor.attempt import Attempted
from eventflow_processor.observe.observer import Observer
from eventflow_processor.target.result import Errored, Failed, KeptAnswer, Result, Succeeded, Unsendable

NOTES_AT_ONCE: Final = 64
"""Number of attempts that become records together. In a loop, a record takes a third of the time that it would take
after each delivery, because the CPU has the code in its caches."""

_LIVE_LANE, _LIVE = Lane.LIVE, Lane.LIVE.value
_NS_PER_MINUTE = 60_000_000_000
_BUCKETS_US = tuple(round(bound_s * 1_000_000) for bound_s in DURATION_BUCKETS_S)

_new_record = partial(tuple.__new__, AttemptRecord)  # its constructor checks names, which takes as long again


class RecordIds:
    """Ids of records: UUIDs of version 7 (RFC 9562) in ascending order, with a counter in place of most of the chance.

    One object serves a process.
    """

    def __init__(self) -> None:
        """Take the random part that distinguishes this process from all others."""
        chance = secrets.token_hex(8)
        self._tail = f"-8{chance[1:4]}-{chance[4:]}"
        self._unix_ms = 0

    def take(self, count: int) -> list[str]:
        """Return the next ids, at most 4096."""
        # Each call has a millisecond of its own, even if the clock was set back.
        self._unix_ms = unix_ms = max(self._unix_ms + 1, time.time_ns() // 1_000_000)
        head = f"{unix_ms >> 16:08x}-{unix_ms & 0xFFFF:04x}-7"
        return [f"{head}{number:03x}{self._tail}" for number in range(count)]


class _Ending(NamedTuple):
    """The end of an attempt, as its record has it: the columns from `outcome` to `answer_bytes`."""

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


_Note: TypeAlias = tuple[str, str, str, str, str | None, datetime, int, float, int, Lane, _Ending, str | None]
"""An attempt until it becomes a record: flow; id, type, source, subject and acceptance of the event; start, duration,
number, lane, ending, trace. A plain tuple, because each attempt makes one."""


class AttemptNotes:
    """The latest attempts of all flows, which become records in the buffer and counts by minute."""

    def __init__(
        self,
        buffer: HistoryBuffer,
        *,
        writer: str,
        failures_only: bool,
        on_error: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """Record into `buffer`.

        Args:
            buffer: The memory for records.
            writer: Name of this process.
            failures_only: Whether successes are counted, and not recorded.
            on_error: Called with an error that prevents a record. The attempt is counted in a gap then.
        """
        self._buffer = buffer
        self._writer = writer
        self._failures_only = failures_only
        self._on_error = on_error
        self._ids = RecordIds()
        self._notes: list[_Note] = []
        buffer.before_take = self.record

    def add(self, note: _Note) -> None:
        """Keep a note until there are enough of them, or until the buffer is read."""
        self._notes.append(note)
        if len(self._notes) == NOTES_AT_ONCE:
            self.record()

    def record(self) -> None:
        """Turn the notes into records and counts. An error costs only the record of its own note, and is not raised."""
        notes, self._notes = self._notes, []
        for record_id, note in zip(self._ids.take(len(notes)), notes, strict=True):
            try:
                self._record(record_id, note)
            except Exception as error:  # noqa: BLE001 - a guard: the caller may be the writer, or another attempt
                self._on_error(error)
                self._buffer.drop(note[0], utc_now(), "internal")

    def _record(self, record_id: str, note: _Note) -> None:
        flow, event_id, kind, source, subject, accepted_at, started_ns, duration_s, number, lane, end, trace = note
        duration_us = int(duration_s * 1_000_000)
        minute, bucket = started_ns // _NS_PER_MINUTE, bisect_left(_BUCKETS_US, duration_us)
        self._buffer.count((minute, flow, end.outcome, end.reason or "", end.status or 0, bucket), duration_us)
        if self._failures_only and end.outcome == "delivered":
            return
        record = (
            record_id,
            flow,
            event_id,
            kind,
            source,
            subject,
            accepted_at,
            datetime.fromtimestamp(started_ns / 1e9, UTC),
            duration_us,
            number,
            _LIVE if lane is _LIVE_LANE else lane.value,  # an enumeration is slow
            *end,
            trace,
            self._writer,
        )
        self._buffer.add(_new_record(record))


class HistoryObserver(Observer):
    """Notes each attempt of one flow."""

    def __init__(self, notes: AttemptNotes, *, flow: str) -> None:
        self._notes = notes
        self._flow = flow

    @override
    def attempted(self, attempted: Attempted) -> None:
        result, spans, delivery = attempted.result, attempted.spans, attempted.delivery
        if isinstance(result, Succeeded) and result.answer is None and isinstance(attempted.outcome, Delivered):
            ending = _success(result.status, result.reason)  # nearly always
        else:
            ending = _ending_of(attempted)
        envelope = delivery.envelope
        event = envelope.event
        # Only texts of the event are kept, and nothing that refers to its body.
        self._notes.add(
            (
                self._flow,
                event.id,
                event.type,
                event.source,
                event.subject,
                event.accepted_at,
                attempted.started_at_ns,
                attempted.duration_s,
                envelope.attempt,
                delivery.lane,
                ending,
                None if spans is None else spans.trace_id,
            )
        )


@lru_cache(maxsize=64)
def _success(status: int | None, reason: str | None) -> _Ending:
    return _Ending("delivered", True, reason, None, None, status, None, None, None, None)


def _ending_of(attempted: Attempted) -> _Ending:
    reason, detail, text, status, answer = _answered(attempted.result, attempted.error)
    next_at: datetime | None = None
    match attempted.outcome:
        case Retry(delay_s=delay_s) | Defer(delay_s=delay_s):
            next_at = utc_now() + timedelta(seconds=delay_s)
        case DeadLetter(envelope=copy):
            if copy.failure is not None:
                reason = copy.failure.reason  # it can be `too_large`, as no answer's
        case Delivered() | Hold() | None:
            pass
        case _:
            assert_never(attempted.outcome)
    return _Ending(
        outcome=LOST if attempted.outcome is None else attempted.outcome.word,
        settled=attempted.outcome is not None,
        reason=reason,
        detail=detail,
        text=text,
        status=status,
        next_at=next_at,
        answer=None if answer is None else answer.content,
        answer_type=None if answer is None else answer.content_type,
        answer_bytes=None if answer is None else answer.size_bytes,
    )


_Answered = tuple[str | None, str | None, str | None, int | None, KeptAnswer | None]
"""Reason, detail, text, status and answer."""


def _answered(result: Result | None, error: Exception | None) -> _Answered:
    match result:
        case Succeeded(status=status, reason=reason, answer=answer):
            return reason, None, None, status, answer
        case Failed() as failed:
            text = failed.text if failed.status is None else None  # else the answer has the words
            return failed.reason, failed.detail, text, failed.status, failed.answer
        case Unsendable(text=text):
            return "unsendable", None, text, None, None
        case Errored(error=cause):
            return "internal", None, _words_of(cause), None, None
        case None:
            return "internal", None, None if error is None else _words_of(error), None, None
        case _:
            assert_never(result)


def _words_of(error: Exception) -> str:
    """Return the words for an error: of another library only its kind, because its text may be anything."""
    return str(error) if isinstance(error, EventFlowError) else type(error).__name__
