"""`/flow`: one flow on one screen, and its live part."""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from eventflow.event import utc_now
from eventflow.history.filters import AttemptFilter
from eventflow_console.desk import DESK
from eventflow_console.live import fragments_of_state
from eventflow_console.lookups import actions_page, attempts_page, past_of
from eventflow_console.pages.answers import notices_of, page
from eventflow_console.pages.charts import chart_of
from eventflow_console.pages.rendering import render
from eventflow_console.pages.views.attempts import rows_of
from eventflow_console.pages.views.flow import FlowView
from eventflow_console.parameters import flow_in
from eventflow_console.past import Span
from eventflow_console.present import Present

LATEST: Final = 15


async def flow_page(request: web.Request) -> web.Response:
    """Show a flow: its path, its past, its latest attempts."""
    desk, now = request.app[DESK], utc_now()
    flow, span = flow_in(request.query, desk.flows), Span.of(request.query.get("range"))
    present, past, latest, actions = await asyncio.gather(
        desk.state.fresh(),
        past_of(desk, flow, span, now),
        attempts_page(desk, AttemptFilter(flow=flow), after=None, limit=LATEST),
        actions_page(desk, flow=flow, limit=1),
    )
    return page(
        request,
        "flow.html",
        nav="flows",
        notices=notices_of(present, *past.problems),
        now=now,
        flow=FlowView(present.flows[flow]),
        read_only=desk.read_only,
        spans=list(Span),
        chart=chart_of(past.past, span, now),
        gaps=past.past.gaps,
        attempts=None if latest.attempts is None else rows_of(latest.attempts),
        attempts_problem="" if latest.problem is None else latest.problem.sentence,
        latest_action=next(iter(actions.value or ()), None),
    )


async def live_flow(request: web.Request) -> web.StreamResponse:
    """Stream the live part of the page of a flow."""
    desk = request.app[DESK]
    flow = flow_in(request.query, desk.flows)
    return await desk.streams.serve(request, fragments_of_state(desk.state, flow_part(flow, read_only=desk.read_only)))


def flow_part(flow: str, *, read_only: bool) -> Callable[[Present], str]:
    """Return a function that renders the live part of the page of a flow."""
    return lambda present: render("flow_now.html", flow=FlowView(present.flows[flow]), read_only=read_only)
