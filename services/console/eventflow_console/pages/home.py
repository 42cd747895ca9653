"""`/`: all flows."""

import asyncio
from datetime import timedelta

from aiohttp import web

from eventflow.event import utc_now
from eventflow_console.desk import DESK, Desk
from eventflow_console.pages.addresses import address
from eventflow_console.pages.answers import notices_of, page
from eventflow_console.pages.views.flow import FlowView
from eventflow_console.past import FAILED


async def home(request: web.Request) -> web.Response:
    """Show all flows; if there is only one, show that."""
    desk = request.app[DESK]
    if len(desk.flows) == 1:
        raise web.HTTPFound(address("/flow", flow=desk.flows[0]))
    present, failed = await asyncio.gather(
        desk.state.fresh(), asyncio.gather(*(_failed_in_an_hour(desk, flow) for flow in desk.flows))
    )
    return page(
        request,
        "flows.html",
        nav="flows",
        notices=notices_of(present),
        flows=[FlowView(state, attempts) for state, attempts in zip(present.flows.values(), failed, strict=True)],
    )


async def _failed_in_an_hour(desk: Desk, flow: str) -> int | None:
    now = utc_now()
    answer = await desk.history.ask(
        "minutes", lambda store: store.minutes(flow, since=now - timedelta(hours=1), until=now, step_minutes=60)
    )
    if answer.value is None:
        return None
    return sum(count.attempts for count in answer.value if count.key.outcome in FAILED)
