"""The history in sentences."""

from collections.abc import Sequence

from eventflow.event import format_time
from eventflow.history.records import LOST, AttemptRecord, Gap
from eventflow.operations.causes import cause_in_words
from eventflow.settings.history import HistorySettings

_ENDS = {
    "delivered": "was delivered",
    "retry": "failed",
    "defer": "did not count",
    "hold": "did not count, because the target asked to wait",
    "dead": "failed and was the last attempt",
    LOST: "was not settled, so the event is delivered again",
}

_REASONS_OF_GAPS = {
    "buffer_full": "the store was away or too slow",
    "refused": "the store accepted no such rows",
    "internal": "an internal error of the processor prevented their records",
}


def sentence_of(attempt: AttemptRecord) -> str:
    """Return `attempt 2, lane due, failed; next attempt from 2026-11-28T02:00:05.000Z: client_error, HTTP 422`."""
    end = _ENDS.get(attempt.outcome, attempt.outcome)  # a later version may have more outcomes
    if not attempt.settled and attempt.outcome != LOST:
        end += ", and was not settled, so the event is delivered again"
    if attempt.next_at is not None:
        end += f"; next attempt from {format_time(attempt.next_at)}"
    return f"attempt {attempt.attempt}, lane {attempt.lane}, {end}{_cause_of(attempt)}"


def _cause_of(attempt: AttemptRecord) -> str:
    if attempt.reason is None:
        return "" if attempt.status is None else f": HTTP {attempt.status}"
    words = cause_in_words(reason=attempt.reason, detail=attempt.detail, status=attempt.status, text=attempt.text)
    return f": {words}"


def gap_sentences(gaps: Sequence[Gap]) -> list[str]:
    """Describe the attempts that are not on record, one sentence for each flow and reason."""
    kinds = sorted({(gap.flow, gap.reason) for gap in gaps})
    return [_gap_sentence([gap for gap in gaps if (gap.flow, gap.reason) == kind]) for kind in kinds]


def _gap_sentence(gaps: Sequence[Gap]) -> str:
    since, until = min(gap.since for gap in gaps), max(gap.until for gap in gaps)
    return (
        f"not on record: {attempts_in_words(sum(gap.attempts for gap in gaps))} of flow {gaps[0].flow} from "
        f"{format_time(since)} to {format_time(until)}, because {gap_reason(gaps[0].reason)}"
    )


def gap_reason(reason: str) -> str:
    """Return the reason of a gap in words."""
    return _REASONS_OF_GAPS.get(reason, reason)  # a later version may have more reasons


def attempts_in_words(number: int) -> str:
    """Return `1 attempt` or `2 attempts`."""
    return f"{number} attempt{'' if number == 1 else 's'}"


def absence_of(searched: HistorySettings | None) -> str:
    """Explain an event that was found nowhere.

    Args:
        searched: The settings of the history; None if it was not searched.
    """
    if searched is None:
        return "It may still wait in a queue, or it never arrived."
    at_once = "" if searched.record == "all" else "it was delivered at once (only failures are on record), "
    days = f"{searched.retention_days} day{'' if searched.retention_days == 1 else 's'}"
    return f"It was not attempted yet, it never arrived, {at_once}or its attempts are older than {days} and deleted."
