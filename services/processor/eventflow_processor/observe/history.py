"""Records of all attempts for the history: this makes them, and `eventflow.history` writes them."""

import secrets
import time
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, assert_never

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

_COUNT_MAX = 0xFFF
_LIVE_LANE, _LIVE = Lane.LIVE, Lane.LIVE.value
_NS_PER_MINUTE = 60_000_000_000
_BUCKETS_US = tuple(round(bound_s * 1_000_000) for bound_s in DURATION_BUCKETS_S)


class RecordIds:
    """Ids of records: UUIDs of version 7 (RFC 9562) in ascending order, with a counter in place of most of the chance.

    One object serves a process. It takes less than half the time of `new_event_id`.
    """

    def __init__(self) -> None:
        """Take the random part that distinguishes this process from all others."""
        chance = secrets.token_hex(8)
        self._tail = f"-8{chance[1:4]}-{chance[4:]}"
        self._begin(0)

    def new(self) -> str:
        """Return the next id."""
        unix_ms = time.time_ns() // 1_000_000
        self._count += 1
        if unix_ms > self._unix_ms:
            self._begin(unix_ms)
        elif self._count > _COUNT_MAX:  # or the clock was set back
            self._begin(self._unix_ms + 1)
        return f"{self._head}{self._count:03x}{self._tail}"

    def _begin(self, unix_ms: int) -> None:
        self._unix_ms, self._count = unix_ms, 0
        self._head = f"{unix_ms >> 16:08x}-{unix_ms & 0xFFFF:04x}-7"


class HistoryObserver(Observer):
    """Puts a record of each attempt of one flow into the buffer, and counts it in its minute."""

    def __init__(self, buffer: HistoryBuffer, *, flow: str, writer: str, ids: RecordIds, failures_only: bool) -> None:
        """Record into `buffer`.

        Args:
            buffer: The memory of all flows.
            flow: Name of the flow.
            writer: Name of this process.
            ids: Makes the ids of its records.
            failures_only: Whether successes are counted, and not recorded.
        """
        self._buffer = buffer
        self._flow = flow
        self._writer = writer
        self._ids = ids
        self._failures_only = failures_only

    @override
    def attempted(self, attempted: Attempted) -> None:
        word: str
        status: int | None
        result, outcome = attempted.result, attempted.outcome
        if isinstance(result, Succeeded) and isinstance(outcome, Delivered):  # nearly always, and so without a call
            word, status, answer = outcome.word, result.status, result.answer
            reason = detail = text = next_at = None
        else:
            word, reason, detail, text, status, answer, next_at = _failure_of(attempted)
        started_at_ns = attempted.started_at_ns
        duration_us = int(attempted.duration_s * 1_000_000)
        bucket = bisect_left(_BUCKETS_US, duration_us)
        minute = started_at_ns // _NS_PER_MINUTE
        self._buffer.count((minute, self._flow, word, reason or "", status or 0, bucket), duration_us)
        if self._failures_only and word == "delivered":
            return
        delivery, spans = attempted.delivery, attempted.spans
        envelope = delivery.envelope
        event = envelope.event
        # Positional, in the order of the columns, because keywords would double the time. Only texts of the event are
        # kept, and nothing that refers to its body.
        self._buffer.add(
            AttemptRecord(
                self._ids.new(),
                self._flow,
                event.id,
                event.type,
                event.source,
                event.subject,
                event.accepted_at,
                datetime.fromtimestamp(started_at_ns / 1e9, UTC),
                duration_us,
                envelope.attempt,
                _LIVE if delivery.lane is _LIVE_LANE else delivery.lane.value,  # an enumeration is slow
                word,
                outcome is not None,
                reason,
                detail,
                text,
                status,
                next_at,
                None if answer is None else answer.content,
                None if answer is None else answer.content_type,
                None if answer is None else answer.size_bytes,
                None if spans is None else spans.trace_id,
                self._writer,
            )
        )


class _Failure(NamedTuple):
    """The fields of a record that describe its result, for an attempt that is no settled success."""

    outcome: str
    reason: str | None
    detail: str | None
    text: str | None
    status: int | None
    answer: KeptAnswer | None
    next_at: datetime | None


def _failure_of(attempted: Attempted) -> _Failure:
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
    word = LOST if attempted.outcome is None else attempted.outcome.word
    return _Failure(word, reason, detail, text, status, answer, next_at)


_Answered = tuple[str | None, str | None, str | None, int | None, KeptAnswer | None]
"""Reason, detail, text, status and answer."""


def _answered(result: Result | None, error: Exception | None) -> _Answered:
    match result:
        case Succeeded(status=status, answer=answer):
            return None, None, None, status, answer
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
