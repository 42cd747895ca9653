"""One event: its attempts, its state in the processors, and its dead letter."""

from aiohttp import web

from eventflow.control.messages import facts_of
from eventflow.history.documents import document_of
from eventflow_console.api.answers import answer, parameters_of
from eventflow_console.desk import DESK
from eventflow_console.lookups import EventFacts, event_of
from eventflow_console.parameters import event_id_in, flow_in, named_flow_in
from eventflow_console.refusals import RequestRefusedError


async def get_event(request: web.Request) -> web.Response:
    """Answer with everything that is known of an event."""
    desk, parameters = request.app[DESK], parameters_of(request, "flow", "id")
    facts = await event_of(
        desk,
        event_id_in(parameters),
        flow=named_flow_in(parameters, desk.flows),
        usual_flow=flow_in({**parameters, "flow": ""}, desk.flows),
    )
    if facts.attempts is None and facts.answers is None and facts.dead is None:
        raise RequestRefusedError(503, " ".join(facts.problems))
    return answer(_document(facts))


def _document(facts: EventFacts) -> dict[str, object]:
    processors = None
    if facts.answers is not None:
        answers = {name: facts_of(known) for name, known in facts.answers.items()}
        processors = {"all": facts.processors, "answers": answers}
    return {
        "id": facts.event_id,
        "flow": facts.flow,
        "attempts": None if facts.attempts is None else [document_of(attempt) for attempt in facts.attempts],
        "processors": processors,
        "dead": facts.dead,
        "problems": facts.problems,
    }
