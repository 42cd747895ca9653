"""`/replay` and `/job`: dead letters are sent again, after a count and a question, with their progress."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from eventflow.errors import BrokerUnavailableError, BusyError
from eventflow.operations.dead.selection import Selection
from eventflow_console.auth.user import user_of
from eventflow_console.bodies import form_of
from eventflow_console.desk import DESK, Desk
from eventflow_console.live import fragments_of_job
from eventflow_console.pages.addresses import address
from eventflow_console.pages.answers import page
from eventflow_console.pages.rendering import render
from eventflow_console.pages.views.dead import conditions_of, fields_of
from eventflow_console.pages.words import sentence
from eventflow_console.parameters import flow_in, letters_in, ordered_flow_in
from eventflow_console.refusals import RequestRefusedError


async def ask_replay(request: web.Request) -> web.Response:
    """Count the dead letters of a filter, and ask whether they are to be replayed."""
    desk = request.app[DESK]
    flow = flow_in(request.query, desk.flows)
    return await _question(request, flow, letters_in(request.query, request.query.getall("id", [])))


async def ask_replay_selected(request: web.Request) -> web.Response:
    """Count the dead letters that were selected in a table, and ask. They come in a form, because they can be many."""
    form = await form_of(request)
    flow = ordered_flow_in(form, request.app[DESK].flows)
    return await _question(request, flow, letters_in({}, form.getall("id", [])), is_of_ids=True)


async def _question(request: web.Request, flow: str, selection: Selection, *, is_of_ids: bool = False) -> web.Response:
    desk = request.app[DESK]
    if is_of_ids and not selection.ids:  # an empty selection would be all dead letters
        found: Mapping[str, Any] = {"problem": "No dead letter is selected. Tick at least one.", "count": None}
    else:
        found = await _counted(desk, flow, selection)
    return page(
        request,
        "replay.html",
        nav="dead",
        flow=flow,
        conditions=conditions_of(selection),
        fields=fields_of(flow, selection),
        back=address("/dead", flow=flow),
        **found,
    )


async def _counted(desk: Desk, flow: str, selection: Selection) -> Mapping[str, Any]:
    try:
        return {"problem": "", "count": await desk.dead_letters.count(flow, selection)}
    except (BusyError, BrokerUnavailableError) as error:
        return {"problem": sentence(str(error)), "count": None}


async def replay(request: web.Request) -> web.Response:
    """Start a replay, and go to its page."""
    desk = request.app[DESK]
    form = await form_of(request)
    flow = ordered_flow_in(form, desk.flows)
    job = await desk.actions.replay(flow, letters_in(form, form.getall("id", [])), by=user_of(request))
    raise web.HTTPSeeOther(address("/job", id=job.id))


async def job(request: web.Request) -> web.Response:
    """Show the progress of a replay."""
    found = request.app[DESK].jobs.job(request.query.get("id", ""))
    if found is None:
        raise RequestRefusedError(404, "There is no such replay. The console forgets replays when it restarts.")
    return page(request, "job.html", nav="dead", job=found, read_only=request.app[DESK].read_only)


async def live_job(request: web.Request) -> web.StreamResponse:
    """Stream the progress of a replay."""
    desk = request.app[DESK]
    fragments = fragments_of_job(
        desk.jobs, request.query.get("id", ""), lambda job: render("job_now.html", job=job, read_only=desk.read_only)
    )
    return await desk.streams.serve(request, fragments)


async def cancel(request: web.Request) -> web.Response:
    """Stop a replay after the dead letters that are being sent."""
    form = await form_of(request)
    if await request.app[DESK].jobs.cancel(form.get("id", "")) is None:
        raise RequestRefusedError(404, "There is no such replay.")
    raise web.HTTPSeeOther(address("/job", id=form["id"]))
