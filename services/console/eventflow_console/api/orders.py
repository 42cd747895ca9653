"""Orders of an operator: pause, resume, and the rate of a flow."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from eventflow.control.overrides import Overrides
from eventflow.errors import InvalidInputError
from eventflow_console.actions import Actions
from eventflow_console.api.answers import answer
from eventflow_console.auth.user import user_of
from eventflow_console.bodies import json_of, texts_in
from eventflow_console.desk import DESK
from eventflow_console.parameters import CONFIGURED, ordered_flow_in, rate_in


async def pause(request: web.Request) -> web.Response:
    """Pause a flow; answer with the overrides now."""
    return await _ordered(request, Actions.pause)


async def resume(request: web.Request) -> web.Response:
    """Resume a flow; answer with the overrides now."""
    return await _ordered(request, Actions.resume)


async def set_rate(request: web.Request) -> web.Response:
    """Set the rate of a flow; answer with the overrides now."""
    desk = request.app[DESK]
    body = await json_of(request, known=("flow", "rate_per_s"))
    rate = body.pop("rate_per_s", None)
    if isinstance(rate, bool) or not isinstance(rate, int | float | str):
        raise InvalidInputError(f"rate_per_s: a number is expected, or {CONFIGURED!r} for the rate in the settings")
    per_s = rate_in(str(rate))
    flow = ordered_flow_in(texts_in(body), desk.flows)
    return answer(await desk.actions.set_rate(flow, per_s, by=user_of(request)))


async def _ordered(request: web.Request, order: Callable[..., Awaitable[Overrides]]) -> web.Response:
    desk = request.app[DESK]
    flow = ordered_flow_in(texts_in(await json_of(request, known=("flow",))), desk.flows)
    return answer(await order(desk.actions, flow, by=user_of(request)))
