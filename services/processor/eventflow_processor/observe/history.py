"""Records of all attempts for the history: this makes them, and `eventflow.history` writes them."""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, assert_never

from typing_extensions import override

from eventflow.errors import EventFlowError
from eventflow.event import new_event_id, utc_now
from eventflow.history.buffer import HistoryBuffer
from eventflow.history.records import DURATION_BUCKETS_S, LOST, AttemptRecord
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow_processor.attempt import Attempted
from eventflow_processor.observe.observer import Observer
from eventflow_processor.target.result import Errored, Failed, KeptAnswer, Result, Succeeded, Unsendable

_NS_PER_MINUTE = 60_000_000_000
_BUCKETS_US = tuple(round(bound_s * 1_000_000) for bound_s in DURATION_BUCKETS_S)


class HistoryObserver(Observer):
    """Puts a record of each attempt of one flow into the buffer, and counts it in its minute."""

    def __init__(self, buffer: HistoryBuffer, *, flow: str, writer: str, failures_only: bool) -> None:
        """Record into `buffer`.

        Args:
            buffer: The memory of all flows.
            flow: Name of the flow.
            writer: Name of this process.
            failures_only: Whether successes are counted, and not recorded.
        """
        self._buffer = buffer
        self._flow = flow
        self._writer = writer
        self._failures_only = failures_only

    @override
    def attempted(self, attempted: Attempted) -> None:
        outcome = attempted.outcome
        word = LOST if outcome is None else outcome.word
        answered = _answered(attempted.result, attempted.error)
        reason = _reason_of(outcome, answered)
        duration_us = int(attempted.duration_s * 1_000_000)
        started_at_ns = attempted.started_at_ns
        self._buffer.count(
            (
                started_at_ns // _NS_PER_MINUTE,
                self._flow,
                word,
                reason or "",
                answered.status or 0,
                bisect_left(_BUCKETS_US, duration_us),
            ),
            duration_us,
        )
        if self._failures_only and word == "delivered":
            return
        delivery, answer, spans = attempted.delivery, answered.answer, attempted.spans
        envelope = delivery.envelope
        event = envelope.event
        # Positional, in the order of the columns, because keywords would double the time. Only texts of the event are
        # kept, and nothing that refers to its body.
        self._buffer.add(
            AttemptRecord(
                new_event_id(),
                self._flow,
                event.id,
                event.type,
                event.source,
                event.subject,
                event.accepted_at,
                datetime.fromtimestamp(started_at_ns / 1e9, UTC),
                duration_us,
                envelope.attempt,
                delivery.lane.value,
                word,
                outcome is not None,
                reason,
                answered.detail,
                answered.text,
                answered.status,
                _next_at(outcome),
                None if answer is None else answer.content,
                None if answer is None else answer.content_type,
                None if answer is None else answer.size_bytes,
                None if spans is None else spans.trace_id,
                self._writer,
            )
        )


class _Answered(NamedTuple):
    """The result of an attempt, in the fields of its record."""

    reason: str | None = None
    detail: str | None = None
    text: str | None = None
    status: int | None = None
    answer: KeptAnswer | None = None


def _answered(result: Result | None, error: Exception | None) -> _Answered:
    match result:
        case Succeeded(status=status, answer=answer):
            return _Answered(None, None, None, status, answer)
        case Failed() as failed:
            text = failed.text if failed.status is None else None  # else the answer has the words
            return _Answered(failed.reason, failed.detail, text, failed.status, failed.answer)
        case Unsendable(text=text):
            return _Answered("unsendable", text=text)
        case Errored(error=cause):
            return _Answered("internal", text=_words_of(cause))
        case None:
            return _Answered("internal", text=None if error is None else _words_of(error))
        case _:
            assert_never(result)


def _words_of(error: Exception) -> str:
    """Return the words for an error: of another library only its kind, because its text may be anything."""
    return str(error) if isinstance(error, EventFlowError) else type(error).__name__


def _reason_of(outcome: Outcome | None, answered: _Answered) -> str | None:
    """Return the reason of a failure. That of a dead letter comes first: it can be `too_large`, as no answer's."""
    if isinstance(outcome, DeadLetter) and outcome.envelope.failure is not None:
        return outcome.envelope.failure.reason
    return answered.reason


def _next_at(outcome: Outcome | None) -> datetime | None:
    match outcome:
        case Retry(delay_s=delay_s) | Defer(delay_s=delay_s):
            return utc_now() + timedelta(seconds=delay_s)
        case Delivered() | Hold() | DeadLetter() | None:
            return None
        case _:
            assert_never(outcome)
