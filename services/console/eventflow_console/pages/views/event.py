"""The page of one event: its attempts in order, its state now, and its dead letter."""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from eventflow.control.messages import Known
from eventflow.event import parse_time
from eventflow.history.records import LOST, AttemptRecord
from eventflow.network.failure import MEANINGS
from eventflow.operations.event_words import sentences_of
from eventflow_console.pages import texts
from eventflow_console.pages.texts import Shown
from eventflow_console.pages.views.frame import Tone

_NOT_COUNTED: Final = "The attempt does not count, because the target was down or asked to wait."
_NO_ANSWERS: Final[Mapping[str, Known]] = MappingProxyType({})
_LOST: Final = (
    "The delivery was lost before its outcome was safe, so RabbitMQ delivers the event again. "
    "The target may have received it twice, with the same event id."
)
_MEANINGS: Final[Mapping[str, tuple[Tone, str]]] = {
    "delivered": ("good", "The target accepted the event."),
    "retry": ("bad", "The attempt failed, and another one follows."),
    "defer": ("slow", _NOT_COUNTED),
    "hold": ("slow", f"{_NOT_COUNTED} The event waits in the memory of the processor."),
    "dead": ("bad", "The attempt failed and was the last one. The event is a dead letter."),
    LOST: ("idle", _LOST),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One attempt on the timeline.

    Attributes:
        wait_s: Time since the acceptance for the first attempt; since the end of the previous one for any other.
        meaning: Its outcome in a sentence.
        cause: The meaning of the detail of a failure in the network; empty if there is none.
        answer: The target's answer; None if it is not kept.
        answer_bytes: Its whole length; None if it is unknown.
        error: The error in words, if there was no answer.
        trace: Address of its trace; None without one.
    """

    started_at: datetime
    attempt: int
    lane: str
    tone: Tone
    outcome: str
    meaning: str
    duration_s: float
    wait_s: float | None = None
    status: int | None = None
    reason: str | None = None
    cause: str = ""
    answer: Shown | None = None
    answer_type: str | None = None
    answer_bytes: int | None = None
    error: str | None = None
    next_at: datetime | None = None
    trace: str | None = None
    writer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """The dead letter of an event.

    Attributes:
        facts: Names and values about its failures.
    """

    facts: Sequence[tuple[str, str]]
    died_at: datetime | None
    body: Shown
    body_bytes: int
    content_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """Everything known about one event in one flow.

    Attributes:
        facts: Names and values of its attributes.
        steps: Its attempts, the oldest first; None if they are unknown.
        accepted_at: Time of its acceptance; None if it is unknown.
        now: Sentences about its state in the processors, each with the name of the processor.
        remembered: The latest attempt as the memory of a processor has it, if no attempt is on record.
        letter: None if it is not among the dead letters that were searched.
        silent: Number of processors that did not answer.
    """

    event_id: str
    flow: str
    facts: Sequence[tuple[str, str]] = ()
    steps: Sequence[TimelineStep] | None = ()
    accepted_at: datetime | None = None
    now: Sequence[tuple[str, str]] = ()
    remembered: Sequence[tuple[str, str]] = ()
    letter: Letter | None = None
    silent: int = 0

    @property
    def is_known(self) -> bool:
        """Whether anything is known about it."""
        return bool(self.steps or self.now or self.remembered or self.letter)

    @property
    def is_delivered(self) -> bool:
        """Whether the target has accepted it."""
        return any(step.outcome == "delivered" for step in self.steps or ())

    @property
    def has_duplicates(self) -> bool:
        """Whether the target may have received it more than once."""
        accepted = sum(step.outcome == "delivered" for step in self.steps or ())
        lost = any(step.outcome == LOST for step in self.steps or ())
        return accepted > 1 or lost


def event_view(
    event_id: str,
    flow: str,
    *,
    attempts: Sequence[AttemptRecord] | None,
    answers: Mapping[str, Known] = _NO_ANSWERS,
    silent: int = 0,
    letter: Mapping[str, Any] | None = None,
    trace_url: str | None = None,
) -> EventView:
    """Return the view of an event.

    Args:
        event_id: Its id.
        flow: Its flow.
        attempts: Its attempts, the oldest first; None if they are unknown.
        answers: The answers of the processors, by their names.
        silent: Number of processors that did not answer.
        letter: Its dead letter, as `eventflow dead export` writes it.
        trace_url: Address of a trace, with `{trace_id}`.
    """
    known = sorted(answers.items())
    return EventView(
        event_id=event_id,
        flow=flow,
        facts=_facts_of(attempts or (), letter or {}),
        steps=None if attempts is None else _steps_of(attempts, trace_url),
        accepted_at=_accepted_at(attempts or (), letter or {}),
        now=_sentences((name, replace(answer, last=None)) for name, answer in known),
        remembered=() if attempts else _sentences((name, replace(answer, in_hand=None)) for name, answer in known),
        letter=None if letter is None else _letter_of(letter),
        silent=silent,
    )


def _sentences(answers: Iterable[tuple[str, Known]]) -> Sequence[tuple[str, str]]:
    return [(name, sentence) for name, known in answers for sentence in sentences_of(known)]


def _facts_of(attempts: Sequence[AttemptRecord], letter: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    if attempts:
        latest = attempts[-1]
        values = {"Type": latest.type, "Source": latest.source, "Subject": latest.subject}
    else:
        values = {name: letter.get(name.lower()) for name in ("Type", "Source", "Subject")}
    return [(name, texts.line(value)) for name, value in values.items() if value]


def _accepted_at(attempts: Sequence[AttemptRecord], letter: Mapping[str, Any]) -> datetime | None:
    first = next((attempt.accepted_at for attempt in attempts if attempt.accepted_at is not None), None)
    return first or parse_time(str(letter.get("accepted_at") or ""))


def _steps_of(attempts: Sequence[AttemptRecord], trace_url: str | None) -> Sequence[TimelineStep]:
    steps: list[TimelineStep] = []
    before = None
    for attempt in attempts:
        since = attempt.accepted_at if before is None else before
        steps.append(_step_of(attempt, since, trace_url))
        before = attempt.started_at + timedelta(microseconds=attempt.duration_us)
    return steps


def _step_of(attempt: AttemptRecord, since: datetime | None, trace_url: str | None) -> TimelineStep:
    tone, meaning = _MEANINGS.get(attempt.outcome, ("idle", ""))  # a later version may have more outcomes
    if not attempt.settled and attempt.outcome != LOST:
        meaning = f"{meaning} {_LOST}"
    return TimelineStep(
        started_at=attempt.started_at,
        attempt=attempt.attempt,
        lane={"events": "live"}.get(attempt.lane, attempt.lane),
        tone=tone,
        outcome=attempt.outcome,
        meaning=meaning,
        duration_s=attempt.duration_us / 1e6,
        # Clocks of two hosts differ, so a wait may seem to end before it began.
        wait_s=None if since is None else max(0.0, (attempt.started_at - since).total_seconds()),
        status=attempt.status,
        reason=attempt.reason,
        cause="" if attempt.detail is None else MEANINGS.get(attempt.detail, attempt.detail),
        answer=None if attempt.answer is None else texts.shown(attempt.answer, total_bytes=attempt.answer_bytes),
        answer_type=attempt.answer_type,
        answer_bytes=attempt.answer_bytes,
        error=attempt.text if attempt.answer is None else None,
        next_at=attempt.next_at,
        trace=None if trace_url is None or attempt.trace_id is None else _trace(trace_url, attempt.trace_id),
        writer=attempt.writer,
    )


def _trace(trace_url: str, trace_id: str) -> str | None:
    """Return the address of a trace. A row comes from another program, so its id is checked before it is a link."""
    is_hexadecimal = len(trace_id) == 32 and all(digit in "0123456789abcdef" for digit in trace_id)
    return trace_url.replace("{trace_id}", trace_id) if is_hexadecimal else None


def _letter_of(record: Mapping[str, Any]) -> Letter:
    names = ("reason", "detail", "last_status", "text", "attempts")
    body = body_of(record)
    return Letter(
        facts=[
            (name.replace("_", " ").capitalize(), texts.line(str(record[name]), 600))
            for name in names
            if record.get(name) is not None
        ],
        died_at=parse_time(str(record.get("last_failed_at") or "")),
        body=texts.shown(body),
        body_bytes=len(body),
        content_type=record.get("content_type"),
    )


def body_of(record: Mapping[str, Any]) -> bytes:
    """Return the body of a dead letter's record."""
    match record:
        case {"body": str(text)}:
            return text.encode(errors="surrogatepass")
        case {"body_base64": str(text)}:
            try:
                return base64.b64decode(text)
            except binascii.Error:
                return b""
    return b""
