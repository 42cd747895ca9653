"""`/event`: everything known about one event."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from eventflow_console.desk import DESK, Desk
from eventflow_console.lookups import EventFacts, event_of
from eventflow_console.pages.answers import notices_of, page
from eventflow_console.pages.views.event import EventView, event_view
from eventflow_console.pages.words import counted, number, sentence
from eventflow_console.parameters import event_id_in, named_flow_in

FLOWS_MAX: Final = 20
"""Flows that are searched for an event without a flow: each search asks processors and reads dead letters."""


async def event(request: web.Request) -> web.Response:
    """Show an event; if it is unknown, show the possible reasons."""
    desk = request.app[DESK]
    event_id, flow = event_id_in(request.query), named_flow_in(request.query, desk.flows)
    flows = desk.flows[:FLOWS_MAX] if flow is None else (flow,)
    present, found = await asyncio.gather(
        desk.state.fresh(),
        asyncio.gather(*(event_of(desk, event_id, flow=each, usual_flow=each) for each in flows)),
    )
    views = [_view(desk, facts) for facts in found]
    return page(
        request,
        "event.html",
        notices=notices_of(present),
        event_id=event_id,
        views=[view for view in views if view.is_known],
        problems=list(dict.fromkeys(sentence(problem) for facts in found for problem in facts.problems)),
        searched=_searched(found),
        retention_days=desk.settings.history.retention_days if desk.history.is_kept else None,
    )


def _view(desk: Desk, facts: EventFacts) -> EventView:
    answers = facts.answers or {}
    return event_view(
        facts.event_id,
        facts.flow,
        attempts=facts.attempts,
        answers=answers,
        silent=max(0, (facts.processors or 0) - len(answers)),
        letter=None if facts.dead is None else facts.dead.letter,
        trace_url=desk.settings.console.trace_url,
    )


def _searched(found: Sequence[EventFacts]) -> str:
    """Return a sentence about the places that were searched. `problems` has a sentence for each other place."""
    searches = [facts.dead for facts in found if facts.dead is not None]
    letters, total = sum(search.searched for search in searches), sum(search.total for search in searches)
    flows = ", ".join(facts.flow for facts in found)
    return (
        f"Searched in {flows}: the attempts on record, the events that processors hold or remember, and "
        f"{number(letters)} of {counted(total, 'dead letter')}."
    )
