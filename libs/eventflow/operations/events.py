"""The state of one event, from the processors, the dead queue and the history.

The events, due and retry queues are never read, because a reader would count as a processor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventflow.amqp.queues import depth_of
from eventflow.control.messages import Known, facts_of
from eventflow.operations.asking import asking
from eventflow.operations.dead.browse import Bounds, DeadQueue, first
from eventflow.operations.dead.letters import record_of
from eventflow.operations.dead.selection import Selection
from eventflow.operations.history.event import EventHistory, history_document
from eventflow.operations.session import Link
from eventflow.topology import Lane, lane_queue

LETTERS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """The known state of an event.

    Attributes:
        answers: The answer of each processor, by its name.
        processors: Number of processors; some may be too busy or too old to answer.
        letter: The event as `dead export` writes it, if it is among the dead letters that were searched.
        letters: Number of dead letters that were searched.
        other_flows: The flows that were not searched.
        history: Its attempts on record in all flows; None if no history is searched.
    """

    event_id: str
    flow: str
    other_flows: Sequence[str]
    answers: Mapping[str, Known]
    processors: int
    letter: Mapping[str, Any] | None
    letters: int
    history: EventHistory | None = None

    @property
    def is_known(self) -> bool:
        """Whether the event was found anywhere."""
        return (
            self.letter is not None
            or any(known.last or known.in_hand for known in self.answers.values())
            or (self.history is not None and bool(self.history.attempts))
        )


async def find_event(link: Link, queue: DeadQueue, event_id: str, *, other_flows: Sequence[str] = ()) -> EventState:
    """Search the processors and the dead letters of a flow for an event.

    Raises:
        BrokerUnavailableError: The broker cannot be used.
    """
    depth = await depth_of(link.connection, lane_queue(queue.flow, Lane.LIVE))
    processors = depth.consumers if depth else 0
    answers: Mapping[str, Known] = {}
    if processors:
        async with asking(link, (queue.flow,)) as enquiry:
            answers = await enquiry.ask_why(queue.flow, event_id, processors=processors)
    bounds = Bounds(letters=LETTERS_MAX)
    found = await first(link, queue, Selection(ids=frozenset({event_id})), 1, form=record_of, bounds=bounds)
    return EventState(
        event_id=event_id,
        flow=queue.flow,
        other_flows=other_flows,
        answers=answers,
        processors=processors,
        letter=found.letters[0] if found.letters else None,
        letters=min(found.total, LETTERS_MAX),
    )


def document_of(state: EventState) -> dict[str, Any]:
    """Return the state as a JSON object."""
    return {
        "id": state.event_id,
        "flow": state.flow,
        "processors": {
            "all": state.processors,
            "answers": {processor: facts_of(known) for processor, known in state.answers.items()},
        },
        "dead": {"looked_at": state.letters, "letter": state.letter},
        "history": None if state.history is None else history_document(state.history),
    }
