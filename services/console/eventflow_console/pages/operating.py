"""`/control` and `/actions`: pause, resume and rate of a flow, each after a question; and the actions on record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from eventflow.errors import InvalidInputError
from eventflow_console.auth.user import user_of
from eventflow_console.bodies import form_of
from eventflow_console.desk import DESK
from eventflow_console.lookups import actions_page
from eventflow_console.pages.addresses import address
from eventflow_console.pages.answers import notices_of, page
from eventflow_console.pages.words import number, rate
from eventflow_console.parameters import flow_in, named_flow_in, ordered_flow_in, rate_in
from eventflow_console.present import FlowState

ACTIONS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question before a change."""

    question: str
    sentences: Sequence[str]
    button: str


async def ask_control(request: web.Request) -> web.Response:
    """Ask whether a flow is to be paused, resumed, or given a rate."""
    desk = request.app[DESK]
    flow = flow_in(request.query, desk.flows)
    present = await desk.state.fresh()
    question = question_of(present.flows[flow], request.query)
    return page(
        request,
        "control.html",
        nav="flows",
        notices=notices_of(present),
        flow=flow,
        question=question,
        fields=[(name, request.query[name]) for name in ("flow", "do", "rate") if name in request.query],
    )


def question_of(state: FlowState, parameters: Mapping[str, str]) -> Question:
    """Return the question before a change, with its effects.

    Raises:
        InvalidInputError: There is no such change, or the rate is out of range.
    """
    match parameters.get("do"):
        case "pause":
            return Question(
                question=f"Pause {state.flow}?",
                sentences=(
                    "No event is sent to the target until the flow is resumed.",
                    "The collector accepts events meanwhile, and they wait in RabbitMQ.",
                    f"Events that wait now: {number(state.waiting)}.",
                ),
                button="Pause the flow",
            )
        case "resume":
            return Question(
                question=f"Resume {state.flow}?",
                sentences=(
                    f"The processors send again, at the allowed rate. Events that wait now: {number(state.waiting)}.",
                ),
                button="Resume the flow",
            )
        case "rate":
            per_s = rate_in(parameters.get("rate", ""))
            asked = state.rate.configured_per_s if per_s is None else per_s
            return Question(
                question=f"Set the rate of {state.flow} to {rate(asked)}?",
                sentences=(
                    f"Now: {rate(state.rate.limit_per_s)}. In the settings: {rate(state.rate.configured_per_s)}.",
                    "The rate is in units of the quota, for all processors together. "
                    + ("The settings then apply again." if per_s is None else "It holds until it is set again."),
                ),
                button="Set the rate",
            )
    raise InvalidInputError("do: pause, resume or rate is expected")


async def control(request: web.Request) -> web.Response:
    """Pause or resume a flow, or set its rate, and go to its page."""
    desk, user = request.app[DESK], user_of(request)
    form = await form_of(request)
    flow = ordered_flow_in(form, desk.flows)
    match form.get("do"):
        case "pause":
            await desk.actions.pause(flow, by=user)
        case "resume":
            await desk.actions.resume(flow, by=user)
        case "rate":
            await desk.actions.set_rate(flow, rate_in(form.get("rate", "")), by=user)
        case _:
            raise InvalidInputError("do: pause, resume or rate is expected")
    raise web.HTTPSeeOther(address("/flow", flow=flow))


async def actions(request: web.Request) -> web.Response:
    """Show the actions of operators, the newest first."""
    desk = request.app[DESK]
    found = await actions_page(desk, flow=named_flow_in(request.query, desk.flows), limit=ACTIONS)
    return page(
        request,
        "actions.html",
        nav="actions",
        actions=found.value,
        problem="" if found.problem is None else found.problem.sentence,
        is_cut=len(found.value or ()) >= ACTIONS,
    )
