"""`/dead`, `/replay`, `/export` and `/job`: dead letters, and the two things that an operator does with them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from eventflow.errors import BrokerUnavailableError, BusyError, InvalidInputError
from eventflow.event import utc_now
from eventflow.operations.dead.letters import REASONS
from eventflow.operations.dead.selection import Selection
from eventflow_console.auth.user import user_of
from eventflow_console.bodies import form_of
from eventflow_console.desk import DESK, Desk
from eventflow_console.live import fragments_of_job
from eventflow_console.pages.addresses import address
from eventflow_console.pages.answers import notices_of, page
from eventflow_console.pages.rendering import render
from eventflow_console.pages.views.dead import conditions_of, fields_of, groups_of, letter_rows
from eventflow_console.pages.words import sentence
from eventflow_console.parameters import flow_in, letters_in
from eventflow_console.present import Present
from eventflow_console.refusals import RequestRefusedError

GROUPED: Final = 1000
"""Dead letters that are read for the groups."""

ROWS: Final = 50
_FIELDS: Final = ("reason", "status", "type", "since", "until")


async def dead(request: web.Request) -> web.Response:
    """Show the dead letters of a flow: in groups, and the oldest ones in a table."""
    desk = request.app[DESK]
    present = await desk.state.fresh()
    flow = flow_in(request.query, desk.flows) if request.query.get("flow") else _worst_flow(present)
    query = {"flow": flow} | {name: request.query.get(name, "") for name in _FIELDS}
    status, selection = 200, Selection()
    found: Mapping[str, Any]
    try:
        selection = letters_in(request.query)
        found = await _found(desk, flow, selection, query)
    except InvalidInputError as error:
        found, status = {"problem": sentence(str(error))}, 400
    except (BusyError, BrokerUnavailableError) as error:
        found = {"problem": sentence(str(error))}
    return page(
        request,
        "dead.html",
        nav="dead",
        notices=notices_of(present),
        status=status,
        flow=flow,
        flows=[(state.flow, state.dead) for state in present.flows.values()],
        reasons=REASONS,
        query=query,
        fields=fields_of(flow, selection),
        replay_all=address("/replay", **dict(fields_of(flow, selection))),
        **found,
    )


async def _found(desk: Desk, flow: str, selection: Selection, query: Mapping[str, str]) -> Mapping[str, Any]:
    found = await desk.dead_letters.page(flow, selection, limit=GROUPED)
    return {
        "problem": "",
        "letters": letter_rows(found.letters[:ROWS]),
        "groups": groups_of(found.letters, query, utc_now()),
        "matching": len(found.letters),
        "searched": found.searched,
        "depth": found.total,
    }


async def ask_replay(request: web.Request) -> web.Response:
    """Count the dead letters of a filter, and ask whether they are to be replayed."""
    desk = request.app[DESK]
    flow = flow_in(request.query, desk.flows)
    return await _question(request, flow, letters_in(request.query, request.query.getall("id", [])))


async def ask_replay_selected(request: web.Request) -> web.Response:
    """Count the dead letters that were selected in a table, and ask. They come in a form, because they can be many."""
    form = await form_of(request)
    flow = flow_in(form, request.app[DESK].flows)
    return await _question(request, flow, letters_in({}, await _ids_of(request)), is_of_ids=True)


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
    flow = flow_in(form, desk.flows)
    job = await desk.actions.replay(flow, letters_in(form, await _ids_of(request)), by=user_of(request))
    raise web.HTTPSeeOther(address("/job", id=job.id))


async def export(request: web.Request) -> web.StreamResponse:
    """Send dead letters as a file. If it fails half-way, the connection is cut, so that no file looks complete."""
    desk = request.app[DESK]
    form = await form_of(request)
    flow = flow_in(form, desk.flows)
    name = f"dead-letters-{flow}-{utc_now():%Y%m%dT%H%M%SZ}"
    async with desk.actions.exporting(flow, letters_in(form), by=user_of(request)) as chunks:
        return await desk.rows.send(request, chunks, name=name)


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


def _worst_flow(present: Present) -> str:
    """Return the flow with the most dead letters; the first one if all have none."""
    return max(present.flows.values(), key=lambda state: state.dead or 0).flow


async def _ids_of(request: web.Request) -> Sequence[str]:
    return (await form_of(request)).getall("id", [])
