"""The flows: their present state, and their past in steps of time."""

from aiohttp import web

from eventflow.errors import InvalidInputError
from eventflow.event import utc_now
from eventflow_console.api.answers import answer, parameters_of
from eventflow_console.desk import DESK
from eventflow_console.lookups import past_of
from eventflow_console.parameters import flow_in
from eventflow_console.past import Span, steps_of

SPANS = tuple(span.word for span in Span)


async def get_flows(request: web.Request) -> web.Response:
    """Answer with the present state of all flows."""
    parameters_of(request)
    present = await request.app[DESK].state.fresh()
    return answer(
        {
            "at": present.at,
            "broker": present.broker,
            "flows": present.flows,
            "problems": [reason for reason in (present.broker.reason, present.unasked) if reason is not None],
        }
    )


async def get_minutes(request: web.Request) -> web.Response:
    """Answer with the past of a flow."""
    desk, parameters = request.app[DESK], parameters_of(request, "flow", "range")
    flow, word, now = flow_in(parameters, desk.flows), parameters.get("range", Span.HOUR.word), utc_now()
    if word not in SPANS:
        raise InvalidInputError(f"range: one of these is expected: {', '.join(SPANS)}")
    span = Span.of(word)
    found = await past_of(desk, flow, span, now)
    return answer(
        {
            "flow": flow,
            "step_minutes": span.step_minutes,
            "steps": steps_of(found.past, span, now),
            "gaps": found.past.gaps,
            "problems": [problem.sentence for problem in found.problems],
        }
    )
