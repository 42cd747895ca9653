"""`/dead` and `/export`: the dead letters of a flow, on a page and as a file."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from eventflow.errors import BrokerUnavailableError, BusyError, InvalidInputError
from eventflow.event import utc_now
from eventflow.operations.dead.letters import REASONS
from eventflow.operations.dead.selection import Selection
from eventflow_console.auth.user import user_of
from eventflow_console.bodies import form_of
from eventflow_console.desk import DESK, Desk
from eventflow_console.pages.addresses import address
from eventflow_console.pages.answers import notices_of, page
from eventflow_console.pages.views.dead import fields_of, groups_of, letter_rows
from eventflow_console.pages.words import sentence
from eventflow_console.parameters import flow_in, letters_in, ordered_flow_in
from eventflow_console.present import Present

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


async def export(request: web.Request) -> web.StreamResponse:
    """Send dead letters as a file. If it fails half-way, the connection is cut, so that no file looks complete."""
    desk = request.app[DESK]
    form = await form_of(request)
    flow = ordered_flow_in(form, desk.flows)
    name = f"dead-letters-{flow}-{utc_now():%Y%m%dT%H%M%SZ}"
    async with desk.actions.exporting(flow, letters_in(form), by=user_of(request)) as chunks:
        return await desk.rows.send(request, chunks, name=name)


def _worst_flow(present: Present) -> str:
    """Return the flow with the most dead letters; the first one if all have none."""
    return max(present.flows.values(), key=lambda state: state.dead or 0).flow
