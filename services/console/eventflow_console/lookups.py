"""Answers to the questions of an operator. Pages and API give the same ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from eventflow.control.messages import Known
from eventflow.errors import EventFlowError
from eventflow.history.filters import PAGE_MAX, AttemptFilter, Cursor
from eventflow.history.records import Action, AttemptRecord, FlowMinute
from eventflow.operations.history.walk import cursor_of
from eventflow_console.dead_letters import DeadEvent
from eventflow_console.desk import Desk
from eventflow_console.history import Answer, Problem
from eventflow_console.past import Past, Span

EXPORT_PAGE: Final = PAGE_MAX - 1
"""One less than a store gives at once, because a page asks for one more than it has."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptsPage:
    """A page of attempts, the newest first.

    Attributes:
        attempts: None if they are unknown.
        next_cursor: Place after which the next page begins; None for the last page.
        problem: The reason for which the attempts are unknown.
    """

    attempts: Sequence[AttemptRecord] | None
    next_cursor: Cursor | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFacts:
    """Everything that history, processors and dead queue know of an event; None is unknown.

    Attributes:
        flow: The flow in which the processors and the dead letters were searched.
        attempts: Its attempts on record, the oldest first.
        answers: The answer of each processor, by its name.
        processors: Number of processors; some may not have answered.
        dead: The result of the search in the dead letters.
        problems: Sentences with the reasons for unknown values.
    """

    event_id: str
    flow: str
    attempts: Sequence[AttemptRecord] | None
    answers: Mapping[str, Known] | None
    processors: int | None
    dead: DeadEvent | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPast:
    """The past of a flow, and the reasons for its unknown values."""

    past: Past
    problems: tuple[Problem, ...] = ()


async def attempts_page(desk: Desk, selection: AttemptFilter, *, after: Cursor | None, limit: int) -> AttemptsPage:
    """Return a page of attempts."""
    # One more than the page has shows whether another page follows, without a count.
    answer = await desk.history.ask("attempts", lambda store: store.attempts(selection, after=after, limit=limit + 1))
    if answer.value is None:
        return AttemptsPage(attempts=None, problem=answer.problem)
    attempts = answer.value[:limit]
    has_more = len(answer.value) > limit
    return AttemptsPage(attempts=attempts, next_cursor=cursor_of(attempts[-1]) if has_more else None)


async def all_attempts(
    desk: Desk, selection: AttemptFilter, *, after: Cursor | None, most: int
) -> AsyncIterator[AttemptsPage]:
    """Yield the pages of a selection, at most `most` attempts; a page without attempts has the problem, and ends it."""
    left = most
    while left > 0:
        page = await attempts_page(desk, selection, after=after, limit=min(EXPORT_PAGE, left))
        yield page
        if page.attempts is None or page.next_cursor is None:
            return
        left -= len(page.attempts)
        after = page.next_cursor


async def actions_page(desk: Desk, *, flow: str | None, limit: int) -> Answer[list[Action]]:
    """Return the latest actions of operators, the newest first."""
    return await desk.history.ask("actions", lambda store: store.actions(flow=flow, limit=limit))


async def event_of(desk: Desk, event_id: str, *, flow: str | None, usual_flow: str) -> EventFacts:
    """Return all known facts about an event.

    Args:
        desk: The parts to ask.
        event_id: Its id.
        flow: Its flow; None if only its id is known.
        usual_flow: The flow to search if `flow` is None and nothing is on record.
    """
    on_record = await desk.history.ask("event", lambda store: store.attempts_of(event_id, flow=flow))
    found = flow or (on_record.value[-1].flow if on_record.value else usual_flow)
    if found not in desk.flows:
        found = usual_flow  # it was removed from the settings since
    (answered, unasked), (dead, unsearched) = await asyncio.gather(
        _or_reason(desk.state.ask_why(found, event_id)), _or_reason(desk.dead_letters.find(found, event_id))
    )
    answers, processors = (None, None) if answered is None else answered
    problems = (None if on_record.problem is None else on_record.problem.sentence, unasked, unsearched)
    return EventFacts(
        event_id=event_id,
        flow=found,
        attempts=on_record.value,
        answers=answers,
        processors=processors,
        dead=dead,
        problems=tuple(dict.fromkeys(sentence for sentence in problems if sentence is not None)),
    )


async def past_of(desk: Desk, flow: str, span: Span, now: datetime) -> FlowPast:
    """Return the past of a flow, for its chart. The backlog of the last hour is known without a store too."""
    since, until = span.since(now), span.until(now)
    counts, backlog, gaps = await asyncio.gather(
        desk.history.ask(
            "minutes",
            lambda store: store.minutes(flow, since=since, until=until, step_minutes=span.step_minutes),
        ),
        desk.history.ask("flow_minutes", lambda store: store.flow_minutes(flow, since=since, until=until)),
        desk.history.ask("gaps", lambda store: store.gaps(flow, since=since, until=until)),
    )
    recent = desk.minutes.recent(flow, since=since, until=until)
    found = (counts.problem, backlog.problem, gaps.problem)
    return FlowPast(
        past=Past(counts=counts.value, backlog=_merged(backlog.value or (), recent), gaps=gaps.value or ()),
        problems=tuple(dict.fromkeys(problem for problem in found if problem is not None)),
    )


async def _or_reason(asked: Awaitable[T]) -> tuple[T | None, str | None]:
    """Return the answer, or else the reason for which there is none."""
    try:
        return await asked, None
    except EventFlowError as error:
        return None, str(error)


def _merged(stored: Sequence[FlowMinute], recent: Sequence[FlowMinute]) -> Sequence[FlowMinute]:
    """Return the minutes in the store, and those in memory that are not there yet."""
    known = {minute.at for minute in stored}
    return [*stored, *(minute for minute in recent if minute.at not in known)]
