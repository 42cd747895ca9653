"""The addresses of the pages."""

from aiohttp import web

from eventflow_console.pages.about import about
from eventflow_console.pages.assets import ASSETS, PATH
from eventflow_console.pages.attempts import attempts
from eventflow_console.pages.dead import dead, export
from eventflow_console.pages.event import event
from eventflow_console.pages.flow import flow_page, live_flow
from eventflow_console.pages.home import home
from eventflow_console.pages.operating import actions, ask_control, control
from eventflow_console.pages.replays import ask_replay, ask_replay_selected, cancel, job, live_job, replay
from eventflow_console.refusals import RequestRefusedError


def routes() -> list[web.RouteDef]:
    """Return the routes of all pages."""
    return [
        web.get("/", home),
        web.get("/flow", flow_page),
        web.get("/attempts", attempts),
        web.get("/event", event),
        web.get("/dead", dead),
        web.post("/export", export),
        web.get("/replay", ask_replay),
        web.post("/replay/selected", ask_replay_selected),
        web.post("/replay", replay),
        web.get("/job", job),
        web.post("/job/cancel", cancel),
        web.get("/control", ask_control),
        web.post("/control", control),
        web.get("/actions", actions),
        web.get("/about", about),
        web.get("/live/flow", live_flow),
        web.get("/live/job", live_job),
        web.get(f"{PATH}{{name}}", _asset),
    ]


async def _asset(request: web.Request) -> web.Response:
    asset = ASSETS.get(request.match_info["name"])
    if asset is None:
        raise RequestRefusedError(404, "There is no such file. A page of another version may have asked for it.")
    return web.Response(
        body=asset.content,
        headers={"Content-Type": asset.content_type, "Cache-Control": "public, max-age=31536000, immutable"},
    )
