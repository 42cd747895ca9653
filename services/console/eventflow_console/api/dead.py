"""Dead letters: lists, counts, exports, and replays with their progress."""

from typing import Any

from aiohttp import web

from eventflow.errors import InvalidInputError
from eventflow.operations.dead.selection import Selection
from eventflow_console.api.answers import answer, parameters_of
from eventflow_console.auth.user import user_of
from eventflow_console.bodies import json_of, texts_in
from eventflow_console.desk import DESK
from eventflow_console.jobs import Job
from eventflow_console.parameters import flow_in, letters_in, limit_in, named_flow_in, ordered_flow_in
from eventflow_console.refusals import RequestRefusedError

CONDITIONS = ("reason", "status", "type", "since", "until")


async def list_letters(request: web.Request) -> web.Response:
    """Answer with the first dead letters of a selection."""
    desk, parameters = request.app[DESK], parameters_of(request, "flow", *CONDITIONS, "limit")
    flow = flow_in(parameters, desk.flows)
    page = await desk.dead_letters.page(flow, letters_in(parameters), limit=limit_in(parameters))
    return answer({"flow": flow, "letters": page.letters, "searched": page.searched, "total": page.total})


async def count_letters(request: web.Request) -> web.Response:
    """Answer with the number of dead letters of a selection."""
    desk, parameters = request.app[DESK], parameters_of(request, "flow", *CONDITIONS)
    flow = flow_in(parameters, desk.flows)
    return answer(await desk.dead_letters.count(flow, letters_in(parameters)))


async def export_letters(request: web.Request) -> web.StreamResponse:
    """Answer with all dead letters of a selection, one in each line.

    It is no GET, because it is put on record, and keeps other operations from the dead letters.
    """
    desk = request.app[DESK]
    members = texts_in(await json_of(request, known=("flow", *CONDITIONS)))
    flow = ordered_flow_in(members, desk.flows)
    async with desk.actions.exporting(flow, letters_in(members), by=user_of(request)) as lines:
        return await desk.rows.send(request, lines, name=f"dead-letters-{flow}")


async def replay_letters(request: web.Request) -> web.Response:
    """Start to send the dead letters of a selection again; answer with the replay."""
    desk = request.app[DESK]
    body = await json_of(request, known=("flow", "ids", "all", *CONDITIONS))
    ids, everything = body.pop("ids", None), body.pop("all", False)
    members = texts_in(body)
    flow, selection = ordered_flow_in(members, desk.flows), letters_in(members, _ids_in(ids))
    _require_meant(selection, everything)
    job = await desk.actions.replay(flow, selection, by=user_of(request))
    return answer(job, status=202)


async def list_jobs(request: web.Request) -> web.Response:
    """Answer with the latest replays, the newest first."""
    desk, parameters = request.app[DESK], parameters_of(request, "flow")
    return answer({"jobs": desk.jobs.latest(named_flow_in(parameters, desk.flows))})


async def get_job(request: web.Request) -> web.Response:
    """Answer with a replay."""
    return answer(_found(request.app[DESK].jobs.job(parameters_of(request, "id").get("id", ""))))


async def cancel_job(request: web.Request) -> web.Response:
    """End a replay; answer with it."""
    members = texts_in(await json_of(request, known=("id",)))
    return answer(_found(await request.app[DESK].jobs.cancel(members.get("id", ""))))


def _ids_in(ids: Any) -> list[str]:
    if ids is None:
        return []
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise InvalidInputError("ids: a list of texts is expected")
    if not ids:
        raise InvalidInputError("ids: at least one is expected; without ids leave the member out")
    return ids


def _require_meant(selection: Selection, everything: Any) -> None:
    """Check that a replay of all dead letters is meant, and not the result of conditions that were forgotten.

    Raises:
        InvalidInputError: It is not certain.
    """
    if not isinstance(everything, bool):
        raise InvalidInputError("all: true or false is expected")
    if everything is not selection.is_everything:
        raise InvalidInputError("either `all` is expected to be true, or at least one condition")


def _found(job: Job | None) -> Job:
    if job is None:
        raise RequestRefusedError(404, "There is no such replay, or it was forgotten: the latest ones are kept.")
    return job
