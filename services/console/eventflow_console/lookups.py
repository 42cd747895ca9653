"""Answers to the questions of an operator, from the history. Pages and API give the same ones."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from eventflow.history.filters import PAGE_MAX, AttemptFilter, Cursor
from eventflow.history.records import Action, AttemptRecord
from eventflow_console.desk import Desk
from eventflow_console.history import Answer, Problem

EXPORT_PAGE: Final = PAGE_MAX - 1
"""One less than a store gives at once, because a page asks for one more than it has."""


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


async def attempts_page(desk: Desk, selection: AttemptFilter, *, after: Cursor | None, limit: int) -> AttemptsPage:
    """Return a page of attempts."""
    # One more than the page has shows whether another page follows, without a count.
    answer = await desk.history.ask("attempts", lambda store: store.attempts(selection, after=after, limit=limit + 1))
    if answer.value is None:
        return AttemptsPage(attempts=None, problem=answer.problem)
    attempts = answer.value[:limit]
    has_more = len(answer.value) > limit
    return AttemptsPage(attempts=attempts, next_cursor=cursor_of(attempts[-1]) if has_more else None)


async def attempts_of_event(desk: Desk, event_id: str, *, flow: str | None) -> Answer[list[AttemptRecord]]:
    """Return the attempts of an event, the oldest first."""
    return await desk.history.ask("event", lambda store: store.attempts_of(event_id, flow=flow))


async def actions_page(desk: Desk, *, flow: str | None, limit: int) -> Answer[list[Action]]:
    """Return the latest actions of operators, the newest first."""
    return await desk.history.ask("actions", lambda store: store.actions(flow=flow, limit=limit))


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


def cursor_of(attempt: AttemptRecord) -> Cursor:
    """Return the place of an attempt in a list."""
    return Cursor(attempt.started_at, attempt.id)
