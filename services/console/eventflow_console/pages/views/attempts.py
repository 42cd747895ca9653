"""Attempts on record, as rows of a table. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from eventflow.excerpt import excerpt_of
from eventflow.history.records import AttemptRecord

ANSWER_CHARACTERS = 120
"""Of an answer in a table. The page of the event has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt in a table.

    Attributes:
        words: The beginning of the target's answer, or of the error without one; empty if there is none.
    """

    flow: str
    event_id: str
    type: str
    started_at: datetime
    attempt: int
    outcome: str
    status: int | None
    reason: str | None
    detail: str | None
    words: str
    duration_s: float


def rows_of(attempts: Iterable[AttemptRecord]) -> Sequence[AttemptRow]:
    """Return the rows of some attempts, in their order."""
    return [
        AttemptRow(
            flow=attempt.flow,
            event_id=attempt.event_id,
            type=attempt.type,
            started_at=attempt.started_at,
            attempt=attempt.attempt,
            outcome=attempt.outcome,
            status=attempt.status,
            reason=attempt.reason,
            detail=attempt.detail,
            words=words_of(attempt),
            duration_s=attempt.duration_us / 1e6,
        )
        for attempt in attempts
    ]


def words_of(attempt: AttemptRecord) -> str:
    """Return the beginning of the target's answer in one line; without an answer, of the error."""
    content = attempt.answer or attempt.text
    excerpt = excerpt_of(content[: 4 * ANSWER_CHARACTERS]) if content else None
    if excerpt is None:
        return ""
    return excerpt if len(excerpt) <= ANSWER_CHARACTERS else f"{excerpt[:ANSWER_CHARACTERS]}…"
